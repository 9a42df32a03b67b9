//! One word per thing, nothing unfinished, and no path of one machine. The rules stand in `xtask/words.txt`.

use std::sync::LazyLock;

use super::Report;
use super::source::SourceFile;

/// Files that hold data, other people's text, or the rules themselves.
const NOT_OURS: [&str; 4] = [".json", ".lock", "LICENSE-APACHE", "xtask/words.txt"];

#[derive(Default)]
struct Rules {
    /// Word, and what to say instead.
    words: Vec<(&'static str, &'static str)>,
    names: Vec<&'static str>,
    texts: Vec<(&'static str, &'static str)>,
    paths: Vec<(&'static str, &'static str)>,
    examples: Vec<&'static str>,
}

static RULES: LazyLock<Rules> = LazyLock::new(|| {
    let mut rules = Rules::default();
    for line in
        include_str!("../../words.txt").lines().filter(|line| !line.is_empty() && !line.starts_with("# "))
    {
        let (rule, rest) = line.split_once(' ').expect("a rule, a blank, a word");
        let (word, why) = rest.split_once(": ").expect("a word, a colon, a reason");
        match rule {
            "word" => rules.words.push((word, why)),
            "name" => rules.names.push(word),
            "text" => rules.texts.push((word, why)),
            "path" => rules.paths.push((word, why)),
            "example" => rules.examples.push(word),
            other => panic!("words.txt knows no rule \"{other}\""),
        }
    }
    rules
});

/// Checks one file, whatever it holds.
pub(super) fn check(file: &SourceFile, report: &mut Report) {
    if NOT_OURS.iter().any(|end| file.path.ends_with(end)) {
        return;
    }
    for (number, line) in (1..).zip(file.text.lines()) {
        let mut refuse = |what: &str, why: &str| {
            report.error(format!("{}:{number}: \"{what}\": {why}", file.path));
        };
        for name in line.split(|c: char| !c.is_alphanumeric() && c != '_') {
            if RULES.names.contains(&name) {
                continue;
            }
            for part in parts(name) {
                let singular = part.strip_suffix('s').unwrap_or(&part);
                if let Some((word, why)) =
                    RULES.words.iter().find(|(word, _)| *word == part || *word == singular)
                {
                    refuse(word, why);
                }
            }
        }
        for (text, why) in RULES.texts.iter().filter(|(text, _)| line.contains(text)) {
            refuse(text, why);
        }
        for (path, why) in &RULES.paths {
            if line.match_indices(path).any(|(at, _)| is_someones(&line[at..], path)) {
                refuse(path, why);
            }
        }
    }
}

/// Whether this path goes on to name something, and is not one of the examples.
fn is_someones(rest: &str, path: &str) -> bool {
    let goes_on = rest[path.len()..].starts_with(|c: char| c.is_ascii_lowercase());
    goes_on && !RULES.examples.iter().any(|example| rest.starts_with(example))
}

/// The words that a name is made of, in lower case.
fn parts(name: &str) -> Vec<String> {
    let mut out: Vec<String> = vec![String::new()];
    let mut after_lower = false;
    for c in name.chars() {
        if c == '_' || (c.is_uppercase() && after_lower) {
            out.push(String::new());
        }
        if let Some(last) = out.last_mut().filter(|_| c != '_') {
            last.extend(c.to_lowercase());
        }
        after_lower = c.is_lowercase();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(path: &str, text: &str) -> usize {
        let mut report = Report::default();
        check(&SourceFile::new(path.into(), text.into()), &mut report);
        report.errors.len()
    }

    #[test]
    fn every_rule_refuses_its_word() {
        for (word, _) in &RULES.words {
            let capital = word[..1].to_uppercase() + &word[1..];
            for text in
                [word.to_string(), format!("the {word}s,"), format!("{word}_id"), format!("my{capital}Id")]
            {
                assert_eq!(errors("docs/a.md", &text), 1, "{text}");
            }
            assert_eq!(errors("docs/a.md", &format!("x{word}")), 0, "only whole words");
        }
        RULES.names.iter().for_each(|name| assert_eq!(errors("a.rs", &format!("x.{name}()")), 0, "{name}"));
        RULES.texts.iter().for_each(|(text, _)| assert_eq!(errors("a.rs", text), 1, "{text}"));
        RULES.paths.iter().for_each(|(path, _)| assert_eq!(errors("a.rs", &format!("{path}x")), 1, "{path}"));
        RULES.examples.iter().for_each(|path| assert_eq!(errors("a.rs", &format!("{path}x")), 0, "{path}"));
        assert_eq!(errors("a.json", RULES.words[0].0), 0, "data is not looked at");
    }
}
