//! The grammar of the mount.

use std::path::PathBuf;

use clap::Args;

#[derive(Args)]
pub(crate) struct MountArgs {
    /// The directory: an alias with a colon and a path behind it, or a cap
    #[arg(value_name = "PATH")]
    pub(crate) what: String,
    /// The folder on which it shall appear; what is in it is hidden meanwhile
    #[arg(value_name = "MOUNTPOINT")]
    pub(crate) at: PathBuf,
    /// Options, with commas between: ro, allow_other, fsync=grid or local, cache=SIZE, memory=SIZE, dirty=SIZE (from 1 MB on),
    /// timeout=SECONDS (1 to 3600), uid=NUMBER, gid=NUMBER, client=DIR and
    /// those of the system (nosuid, nodev, noexec ...)
    #[arg(short, long = "options", value_name = "OPTIONS")]
    pub(crate) options: Vec<String>,
    /// Go on in the background, once the mount answers
    #[arg(long)]
    pub(crate) daemon: bool,
}

#[derive(Args)]
pub(crate) struct UmountArgs {
    /// Where it is mounted
    #[arg(value_name = "MOUNTPOINT")]
    pub(crate) at: PathBuf,
    /// Take it away at once although programs use it, and wait for nothing: they go on until they close their files
    #[arg(long)]
    pub(crate) lazy: bool,
}
