//! The book: every link of a page leads to a file of the project, and every page is in the table of contents.

use super::Report;
use super::source::{SourceFile, line_of};

const CONTENTS: &str = "docs/SUMMARY.md";

/// Checks all Markdown files.
pub(super) fn check(files: &[SourceFile], report: &mut Report) {
    let mut listed = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".md")) {
        for (at, link) in links(&file.text) {
            let target = resolve(&file.path, link);
            let folder = format!("{target}/");
            if !files.iter().any(|other| other.path == target || other.path.starts_with(&folder)) {
                report.error(format!("{}:{}: no file {target}", file.path, line_of(&file.text, at)));
            }
            if file.path == CONTENTS {
                listed.push(target);
            }
        }
    }
    let pages = files.iter().filter(|file| file.path.starts_with("docs/") && file.path.ends_with(".md"));
    for page in pages.filter(|page| page.path != CONTENTS && !listed.contains(&page.path)) {
        report.error(format!("{}: {CONTENTS} does not list it", page.path));
    }
}

/// Offset and path of every link into the project, without its anchor.
fn links(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.match_indices("](").filter_map(|(at, begin)| {
        let link = text[at + begin.len()..].split([')', ' ', '\n']).next()?;
        let path = link.split('#').next()?;
        (!path.is_empty() && !link.contains(':')).then_some((at, path))
    })
}

/// The path from the root that a link on a page means.
fn resolve(page: &str, link: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_somewhere_and_pages_are_listed() {
        let errors = |page: &str| {
            let pages = [("docs/a/page.md", page), (CONTENTS, "[one](a/page.md)"), ("docs/lost.md", "")];
            let mut report = Report::default();
            check(&pages.map(|(path, text)| SourceFile::new(path.into(), text.into())), &mut report);
            report.errors
        };
        let lost = "docs/lost.md: docs/SUMMARY.md does not list it";
        assert_eq!(errors("[x](../lost.md#there) [y](#here) [z](https://example.org/) [f](../a)"), [lost]);
        assert_eq!(errors("\n[x](lost.md)"), ["docs/a/page.md:2: no file docs/a/lost.md", lost]);
    }
}
