//! The project's text files, and Rust code without its comments and strings.

use std::path::Path;

use anyhow::Result;

use crate::command::{command, output};

/// Folders whose Rust files are tests through and through.
const TEST_FOLDERS: [&str; 4] = ["tests", "benches", "examples", "fuzz"];

/// A text file of the project.
pub(super) struct SourceFile {
    /// Its path from the root, with `/`.
    pub(super) path: String,
    /// What it holds.
    pub(super) text: String,
    /// For Rust: the same, with comments and the insides of strings blanked. Offsets and lines stay.
    pub(super) code: String,
    /// Where in `code` the tests begin: its end if there are none, 0 in a file of tests.
    pub(super) tests_from: usize,
}

impl SourceFile {
    pub(super) fn new(path: String, text: String) -> Self {
        let code = if path.ends_with(".rs") { blank(&text) } else { String::new() };
        let in_tests =
            path.split('/').any(|part| TEST_FOLDERS.contains(&part)) || path.ends_with("/tests.rs");
        let tests_from = if in_tests { 0 } else { tests_from(&code) };
        Self { path, text, code, tests_from }
    }

    /// The code that is not a test.
    pub(super) fn program(&self) -> &str {
        &self.code[..self.tests_from]
    }
}

/// The line, counted from 1, in which an offset lies.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}

/// All text files that git tracks or would add.
pub(super) fn read_all(root: &Path) -> Result<Vec<SourceFile>> {
    let list = output(command("git").args(["ls-files", "--cached", "--others", "--exclude-standard"]))?;
    let read = |path: &str| {
        let text = std::fs::read_to_string(root.join(path)).ok()?;
        Some(SourceFile::new(path.to_owned(), text))
    };
    Ok(list.lines().filter_map(read).collect())
}

fn tests_from(code: &str) -> usize {
    let begins_module = |at: usize| {
        let rest = code[at..].trim_start_matches("#[cfg(test)]").trim_start();
        rest.starts_with("mod ") && rest.find(['{', ';']).is_some_and(|at| rest[at..].starts_with('{'))
    };
    code.match_indices("#[cfg(test)]").map(|(at, _)| at).find(|at| begins_module(*at)).unwrap_or(code.len())
}

/// Blanks comments and the insides of strings and character literals; newlines stay.
fn blank(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let previous = out.chars().next_back().unwrap_or(' ');
        let (len, keep) =
            if let Some(len) = opaque_len(rest, previous) { (len, false) } else { (first.len_utf8(), true) };
        let (piece, after) = rest.split_at(len);
        if keep {
            out.push_str(piece);
        } else {
            out.extend(piece.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
        }
        rest = after;
    }
    out
}

/// Bytes of the comment or literal that `rest` begins with, if it does.
fn opaque_len(rest: &str, previous: char) -> Option<usize> {
    let until =
        |begin: usize, end: &str| rest[begin..].find(end).map_or(rest.len(), |at| begin + at + end.len());
    let in_name = previous.is_alphanumeric() || previous == '_';
    match rest.as_bytes() {
        [b'/', b'/', ..] => Some(rest.find('\n').unwrap_or(rest.len())),
        [b'/', b'*', ..] => Some(until(2, "*/")),
        [b'"', ..] => Some(1 + escaped_len(&rest[1..], b'"')),
        [b'\'', b'\\', ..] => Some(1 + escaped_len(&rest[1..], b'\'')),
        [b'\'', ..] => {
            // A character literal closes right after its character; a lifetime does not.
            let len = 1 + rest[1..].chars().next()?.len_utf8();
            rest[len..].starts_with('\'').then_some(len + 1)
        }
        [b'r' | b'b', ..] if !in_name => {
            let after = rest.trim_start_matches('b').trim_start_matches('r');
            let hashes = after.len() - after.trim_start_matches('#').len();
            let raw = rest.len() - after.len() >= 1 && after[hashes..].starts_with('"');
            let is_raw = raw && rest[..rest.len() - after.len()].contains('r');
            is_raw.then(|| until(rest.len() - after.len() + hashes + 1, &format!("\"{}", "#".repeat(hashes))))
        }
        _ => None,
    }
}

/// Bytes up to and with the closing quote, passing over escapes.
fn escaped_len(rest: &str, quote: u8) -> usize {
    let mut bytes = rest.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            byte if byte == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Dots stand for blanks where something was.
    fn check(code: &str, expected: &str) {
        assert_eq!(blank(code), expected.replace('.', " "));
    }

    #[test]
    fn comments_and_literals_are_blanked() {
        check("a // b\nc", "a ....\nc");
        check("a /* b\n */ c", "a ....\n... c");
        check(r#"f("x{\"}", y)"#, "f(......., y)");
        check("f(r#\"x\"{\"#, y)", "f(........, y)");
        check("f('{', '\\'', 'a)", "f(..., ...., 'a)");
        check("for_r(\"x\")", "for_r(...)");
        check("f(b\"{\")", "f(b...)");
    }

    #[test]
    fn tests_are_told_from_the_program() {
        let file = SourceFile::new("a/src/b.rs".into(), "fn f() {}\n#[cfg(test)]\nmod tests {}\n".into());
        assert_eq!(file.program(), "fn f() {}\n");
        let file = SourceFile::new("a/src/b.rs".into(), "#[cfg(test)]\nmod tests;\nfn f() {}\n".into());
        assert_eq!(file.program(), file.code);
        assert_eq!(SourceFile::new("a/tests/b.rs".into(), "fn f() {}".into()).program(), "");
    }
}
