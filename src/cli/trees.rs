//! The grammar of the verbs that move whole trees.

use std::path::PathBuf;

use clap::Args;

use super::Json;

#[derive(Args)]
pub(crate) struct Cp {
    /// Copy directories, and all that is in them
    #[arg(short, long, short_aliases = ['a', 'R'], alias = "archive")]
    pub(crate) recursive: bool,
    /// Write the caps of files in place of their content
    #[arg(long)]
    pub(crate) caps_only: bool,
    /// From one place of the grid to another: store the content of files anew too, instead of linking them in the new directories
    #[arg(long)]
    pub(crate) deep: bool,
    /// What to copy, and at the end where to: ALIAS:a/b, CAP/a/b, @FILE, - and env: are on the grid, everything else is on this machine
    #[arg(required = true, num_args = 2.., value_names = ["FROM", "TO"])]
    pub(crate) paths: Vec<String>,
}

#[derive(Args)]
pub(crate) struct Backup {
    /// Leave out what this pattern matches: *, ? and [...]; may be given several times
    #[arg(long, value_name = "GLOB")]
    pub(crate) exclude: Vec<String>,
    /// Leave out what the patterns in this file match, one per line
    #[arg(long, value_name = "FILE", alias = "exclude-from-utf-8")]
    pub(crate) exclude_from: Vec<PathBuf>,
    /// Leave out the folders and files of version control systems
    #[arg(long)]
    pub(crate) exclude_vcs: bool,
    /// Read every file, even if its size and times say that it is unchanged
    #[arg(long)]
    pub(crate) ignore_timestamps: bool,
    /// The folder to back up
    pub(crate) local: PathBuf,
    /// Where to: TO/Archives/TIME and TO/Latest are made
    #[arg(value_name = "ALIAS:PATH")]
    pub(crate) to: String,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Args)]
pub(crate) struct Restore {
    /// Put it into a folder that is not empty: files of the same names are replaced, others stay
    #[arg(long)]
    pub(crate) merge: bool,
    /// What to bring back: ALIAS:PATH/Latest, for instance
    #[arg(value_name = "ALIAS:PATH")]
    pub(crate) from: String,
    /// The folder to make
    pub(crate) local: PathBuf,
    #[command(flatten)]
    pub(crate) json: Json,
}
