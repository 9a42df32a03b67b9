//! Files and functions that one can read in one go, and imports that say what they import.

use super::Report;
use super::source::{SourceFile, line_of};

const MAX_FILE_LINES: usize = 600;
const LONG_FILE_LINES: usize = 400;
const MAX_FUNCTION_LINES: usize = 70;
/// Glob imports that tests may use.
const TEST_GLOBS: [&str; 2] = ["super::*", "proptest::prelude::*"];

/// Checks one Rust file. Tests may be long; they read from top to bottom.
pub(super) fn check(file: &SourceFile, report: &mut Report) {
    let lines = file.program().lines().count();
    if lines > MAX_FILE_LINES {
        report.error(format!("{}: {lines} lines, the most is {MAX_FILE_LINES}", file.path));
    } else if lines > LONG_FILE_LINES {
        report.warning(format!("{}: {lines} lines are many", file.path));
    }
    for (name, begin, lines) in functions(file.program()) {
        if lines > MAX_FUNCTION_LINES {
            let at = line_of(file.program(), begin);
            report.error(format!(
                "{}:{at}: fn {name} has {lines} lines, the most is {MAX_FUNCTION_LINES}",
                file.path
            ));
        }
    }
    for (at, import) in globs(&file.code) {
        if at < file.tests_from || !TEST_GLOBS.contains(&import) {
            report.error(format!("{}:{}: glob import {import}", file.path, line_of(&file.code, at)));
        }
    }
}

/// Name, offset and number of lines of every function with a body.
fn functions(code: &str) -> Vec<(&str, usize, usize)> {
    let begins = code.match_indices("fn ").filter(|(at, _)| !code[..*at].ends_with(is_name));
    let measure = |at: usize| {
        let name = code[at + 3..].split(|c| !is_name(c)).next().filter(|name| !name.is_empty())?;
        let body = at + body_offset(&code[at..])?;
        let end = body + closing_brace(&code[body..])?;
        Some((name, at, line_of(code, end) - line_of(code, at) + 1))
    };
    begins.map(|(at, _)| at).filter_map(measure).collect()
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where the body of the function begins, unless it has none.
fn body_offset(code: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, byte) in code.bytes().enumerate() {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'{' if depth == 0 => return Some(at),
            b';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// Where the brace that `code` begins with is closed.
fn closing_brace(code: &str) -> Option<usize> {
    let mut depth = 0;
    code.bytes().position(|byte| {
        depth += i32::from(byte == b'{') - i32::from(byte == b'}');
        depth == 0
    })
}

/// Offset and path of every glob import.
fn globs(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.match_indices("::*").map(|(at, _)| {
        let begin = code[..at].rfind(|c| !is_name(c) && c != ':').map_or(0, |before| before + 1);
        (at, &code[begin..at + 3])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(path: &str, text: &str) -> Vec<String> {
        let mut report = Report::default();
        check(&SourceFile::new(path.into(), text.into()), &mut report);
        report.errors
    }

    #[test]
    fn long_functions_are_named() {
        let body = "    let x = [0; 3];\n".repeat(69);
        let short = format!("fn short(a: [u8; 3]) -> u8 {{\n{}}}\n", &body[..68 * 20]);
        let long = format!("trait T {{\n    fn none(&self);\n}}\nfn long() {{\n{body}}}\n");
        assert_eq!(errors("src/a.rs", &short), [""; 0]);
        assert_eq!(errors("src/a.rs", &long), ["src/a.rs:4: fn long has 71 lines, the most is 70"]);
        assert_eq!(errors("tests/a.rs", &long), [""; 0]);
    }

    #[test]
    fn long_files_are_named() {
        assert_eq!(errors("src/a.rs", &"//\n".repeat(600)), [""; 0]);
        assert_eq!(errors("src/a.rs", &"//\n".repeat(601)), ["src/a.rs: 601 lines, the most is 600"]);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "//\n".repeat(900));
        assert_eq!(errors("src/a.rs", &tests), [""; 0]);
    }

    #[test]
    fn globs_stand_in_tests_only() {
        assert_eq!(errors("src/a.rs", "use a::{b, c::*};\n"), ["src/a.rs:1: glob import c::*"]);
        assert_eq!(errors("src/a.rs", "use super::*;\n"), ["src/a.rs:1: glob import super::*"]);
        assert_eq!(errors("src/a.rs", "#[cfg(test)]\nmod tests {\n    use super::*;\n}\n"), [""; 0]);
        assert_eq!(errors("tests/a.rs", "use std::io::*;\n"), ["tests/a.rs:1: glob import std::io::*"]);
    }
}
