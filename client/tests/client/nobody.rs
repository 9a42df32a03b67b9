//! Tests of what an ordinary user may not do. Root may do everything, so the work is done by a child of another user.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const NOBODY: u32 = 65_534;
const DIR: &str = "SARSEN_TEST_UNPRIVILEGED";

/// In the child: the folder to work in.
pub(crate) fn inside() -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os(DIR)?);
    assert!(!rustix::process::geteuid().is_root());
    Some(path)
}

/// Runs the test `name` again, as nobody, with a folder that `prepare` filled and that is nobody's.
pub(crate) fn run(name: &str, prepare: impl FnOnce(&Path)) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("work");
    std::fs::create_dir(&path).unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let root = rustix::process::geteuid().is_root();
    if root {
        chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    prepare(&path);
    // The test binary may lie where nobody may not go.
    let binary = dir.path().join("tests");
    std::fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    std::fs::set_permissions(&binary, PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = Command::new(&binary);
    command.args(["--exact", name, "--nocapture"]).env(DIR, &path).current_dir("/");
    if root {
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command.output().unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}
