//! What stands behind `-o`.

use std::path::PathBuf;
use std::time::Duration;

use fuse::Durable;

use crate::report::MountError;
use crate::sizes::Size;

/// The longest that a call may be told to wait.
const TIMEOUT_MAX: u64 = 3600;

/// What was asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct MountOptions {
    pub(crate) read_only: bool,
    pub(crate) allow_other: bool,
    pub(crate) durable: Durable,
    pub(crate) cache: Option<u64>,
    pub(crate) memory: Option<u64>,
    pub(crate) dirty: Option<u64>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    /// The client's directory, where the environment names none.
    pub(crate) client: Option<PathBuf>,
    /// What the kernel is told as it is.
    pub(crate) system: Vec<String>,
}

impl MountOptions {
    /// Reads lists of options.
    ///
    /// # Errors
    ///
    /// [`MountError::Option`] for what is not known or has a bad value.
    pub(crate) fn parse(lists: &[String]) -> anyhow::Result<Self> {
        let mut options = Self::default();
        for word in lists.iter().flat_map(|list| list.split(',')).filter(|word| !word.is_empty()) {
            if options.one(word).is_none() {
                return Err(MountError::Option { word: word.to_owned(), wants: wants(word) }.into());
            }
        }
        Ok(options)
    }

    fn one(&mut self, word: &str) -> Option<()> {
        let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
        let size = || value?.parse::<Size>().ok().map(|size| size.0);
        match (name, value) {
            ("ro", None) => self.read_only = true,
            ("rw", None) => self.read_only = false,
            ("allow_other", None) => self.allow_other = true,
            ("fsync", Some("grid")) => self.durable = Durable::Grid,
            ("fsync", Some("local")) => self.durable = Durable::Local,
            ("cache", _) => self.cache = Some(size()?),
            ("memory", _) => self.memory = Some(size()?),
            ("dirty", _) => self.dirty = Some(size().filter(|size| *size >= 1_000_000)?),
            ("timeout", Some(value)) => {
                let seconds = value.parse().ok().filter(|seconds| (1..=TIMEOUT_MAX).contains(seconds))?;
                self.timeout = Some(Duration::from_secs(seconds));
            }
            ("uid", Some(value)) => self.uid = Some(value.parse().ok()?),
            ("gid", Some(value)) => self.gid = Some(value.parse().ok()?),
            ("client", Some(value)) => self.client = Some(value.into()),
            (
                "nosuid" | "suid" | "nodev" | "dev" | "noexec" | "exec" | "noatime" | "sync" | "dirsync",
                None,
            ) => {
                self.system.push(word.to_owned());
            }
            // For mount(8) and systemd, and of no concern here.
            (
                "defaults" | "auto" | "noauto" | "user" | "nouser" | "users" | "nofail" | "_netdev" | "atime"
                | "relatime" | "async",
                None,
            ) => {}
            (name, _) if name.starts_with("x-") || name.starts_with("comment") => {}
            _ => return None,
        }
        Some(())
    }
}

/// What would have been good in place of an option that is not.
fn wants(word: &str) -> &'static str {
    match word.split_once('=').map_or(word, |(name, _)| name) {
        "cache" | "memory" => "wants a size, such as 512MiB or 10G",
        "dirty" => "wants a size from 1 MB on, such as 256MiB",
        "timeout" => "wants seconds, from 1 to 3600",
        "fsync" => "wants grid or local",
        "uid" | "gid" => "wants a number",
        "client" => "wants a client's directory",
        "ro" | "rw" | "allow_other" => "takes no value",
        _ => "is not known",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_mount_gives_them() {
        let lists = [
            "rw,noauto,x-systemd.automount,_netdev".to_owned(),
            "ro,cache=10G,memory=1GiB,timeout=5,uid=7,nodev".to_owned(),
        ];
        let options = MountOptions::parse(&lists).unwrap();
        let expected = MountOptions {
            read_only: true,
            cache: Some(10_000_000_000),
            memory: Some(1 << 30),
            timeout: Some(Duration::from_secs(5)),
            uid: Some(7),
            system: vec!["nodev".into()],
            ..MountOptions::default()
        };
        assert_eq!(options, expected);
        for bad in ["cache=much", "timeout=0", "fsync=never", "colour", "dirty=1", "ro=yes"] {
            assert!(MountOptions::parse(&[bad.to_owned()]).is_err(), "{bad}");
        }
        let error = MountOptions::parse(&["ro,timeout=soon".to_owned()]).unwrap_err();
        assert_eq!(error.to_string(), "the mount's option timeout=soon wants seconds, from 1 to 3600");
    }
}
