//! The rules of the house that no other tool checks (CONTRIBUTING.md says why each is there).

mod crates;
mod links;
mod sizes;
mod source;
mod words;

use anyhow::{Result, bail};

use crate::command::root;

/// Checks every file that is tracked or about to be.
pub(crate) fn run() -> Result<()> {
    let files = source::read_all(root())?;
    let mut report = Report::default();
    for file in &files {
        words::check(file, &mut report);
        if file.path.ends_with(".rs") {
            sizes::check(file, &mut report);
        }
    }
    crates::check(&files, &mut report);
    links::check(&files, &mut report);
    report.warnings.iter().for_each(|line| eprintln!("warning: {line}"));
    report.errors.iter().for_each(|line| eprintln!("error: {line}"));
    eprintln!("{} files, {} errors, {} warnings", files.len(), report.errors.len(), report.warnings.len());
    if !report.errors.is_empty() {
        bail!("{} rules of the house broken", report.errors.len());
    }
    Ok(())
}

/// What was found, as lines for people.
#[derive(Default)]
struct Report {
    errors: Vec<String>,
    warnings: Vec<String>,
}

impl Report {
    fn error(&mut self, line: String) {
        self.errors.push(line);
    }

    fn warning(&mut self, line: String) {
        self.warnings.push(line);
    }
}
