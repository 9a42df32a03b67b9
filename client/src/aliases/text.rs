//! The text of the file: lines that are changed one at a time, so that everything else in it stays.

use caps::Cap;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

/// One line.
pub(super) enum Line {
    /// `name: cap`.
    Alias { name: String, cap: Cap },
    /// `# ...`, or nothing.
    Comment,
    /// Something else.
    Damaged,
}

/// The whole file.
pub(super) struct Text(Zeroizing<String>);

impl Text {
    pub(super) fn new(text: Zeroizing<String>) -> Self {
        Self(text)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The lines with their numbers, from 1.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, Line)> {
        self.0.lines().enumerate().map(|(index, line)| (index + 1, parse(line)))
    }

    /// Whether there is a line of this name, whatever it says.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.lines().any(|line| is_named(line, name))
    }

    /// The names of all lines that have one, whatever else they say.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        self.0.lines().filter_map(|line| named(line).map(|name| name.nfc().collect()))
    }

    /// Adds whole lines.
    pub(super) fn append(&mut self, lines: &str) {
        let end = if self.0.is_empty() || self.0.ends_with('\n') { "" } else { "\n" };
        let mut text = Zeroizing::new(String::with_capacity(self.0.len() + 1 + lines.len()));
        [&self.0, end, lines].into_iter().for_each(|part| text.push_str(part));
        self.0 = text;
    }

    /// Removes every line of this name.
    pub(super) fn remove(&mut self, name: &str) {
        let mut text = Zeroizing::new(String::with_capacity(self.0.len()));
        self.0
            .split_inclusive('\n')
            .filter(|line| !is_named(line, name))
            .for_each(|line| text.push_str(line));
        self.0 = text;
    }

    /// Puts another name in front of every line of this name.
    pub(super) fn rename(&mut self, from: &str, to: &str) {
        let most = self.0.len() + self.0.lines().count() * to.len();
        let mut text = Zeroizing::new(String::with_capacity(most));
        for line in self.0.split_inclusive('\n') {
            match line.split_once(':') {
                Some((_, cap)) if is_named(line, from) => {
                    text.push_str(to);
                    text.push(':');
                    text.push_str(cap);
                }
                _ => text.push_str(line),
            }
        }
        self.0 = text;
    }
}

fn is_comment(line: &str) -> bool {
    line.is_empty() || line.starts_with('#')
}

fn named(line: &str) -> Option<&str> {
    let line = line.trim();
    if is_comment(line) {
        return None;
    }
    line.split_once(':').map(|(name, _)| name.trim())
}

fn is_named(line: &str, name: &str) -> bool {
    named(line).is_some_and(|found| found.nfc().eq(name.chars()))
}

fn parse(line: &str) -> Line {
    let line = line.trim();
    if is_comment(line) {
        return Line::Comment;
    }
    let Some((name, cap)) = line.split_once(':') else { return Line::Damaged };
    match (super::name(name.trim()), cap.trim().parse()) {
        (Ok(name), Ok(cap)) if super::check(&cap).is_ok() => Line::Alias { name, cap },
        _ => Line::Damaged,
    }
}
