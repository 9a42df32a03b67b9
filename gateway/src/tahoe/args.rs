//! What a request asks for: the arguments of its URL and, where it has one, of its form.

use axum::http::{StatusCode, Uri};
use caps::Cap;
use client::filestore::{MAX_DEPTH, Replace};
use encoding::directory::Name;
use percent_encoding::percent_decode_str;

use super::answer::Problem;

/// Arguments by name. Those of the URL come first, and the first of a name counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Args(Vec<(String, String)>);

/// What kind of file is to be made. All that may change have one format here, whatever Tahoe calls it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Format {
    Immutable,
    Mutable,
}

impl Args {
    pub(super) fn of_query(uri: &Uri) -> Self {
        Self(parse(uri.query().unwrap_or_default()))
    }

    pub(super) fn add_form(&mut self, text: &str) {
        self.0.extend(parse(text));
    }

    pub(super) fn add(&mut self, name: String, value: String) {
        self.0.push((name, value));
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// What is to be done.
    pub(super) fn t(&self) -> &str {
        self.get("t").unwrap_or_default().trim()
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, Problem> {
        self.get(name).map_or(Ok(false), boolean)
    }

    /// What to do about what is there. Tahoe's documents call it `overwrite=` in one place.
    pub(super) fn replace(&self) -> Result<Replace, Problem> {
        match self.get("replace").or_else(|| self.get("overwrite")) {
            None => Ok(Replace::Yes),
            Some(text) if text.eq_ignore_ascii_case("only-files") => Ok(Replace::OnlyFiles),
            Some(text) => Ok(if boolean(text)? { Replace::Yes } else { Replace::No }),
        }
    }

    pub(super) fn format(&self) -> Result<Option<Format>, Problem> {
        if self.get("private-key").is_some() {
            return Err(Problem::new(
                StatusCode::NOT_IMPLEMENTED,
                "private-key= is of no use here: keys are no RSA keys",
            ));
        }
        match self.get("format") {
            Some(text) if text.eq_ignore_ascii_case("chk") => Ok(Some(Format::Immutable)),
            Some(text) if text.eq_ignore_ascii_case("sdmf") || text.eq_ignore_ascii_case("mdmf") => {
                Ok(Some(Format::Mutable))
            }
            Some(_) => Err(Problem::bad("Unknown format; I know CHK, SDMF, and MDMF")),
            None => Ok(self.flag("mutable")?.then_some(Format::Mutable)),
        }
    }

    /// Where to write into a mutable file.
    pub(super) fn offset(&self) -> Result<Option<u64>, Problem> {
        let parse = |text: &str| text.parse().map_err(|_| Problem::bad("offset= is no number of bytes"));
        self.get("offset").map(parse).transpose()
    }

    /// The name of a child in this argument.
    pub(super) fn name(&self, argument: &str) -> Result<Option<Name>, Problem> {
        match self.get(argument).map(str::trim) {
            None | Some("") => Ok(None),
            Some(text) if text.contains('/') => {
                Err(Problem::bad(format!("{argument}= may not contain a slash")))
            }
            Some(text) => name(text).map(Some),
        }
    }
}

pub(super) fn name(text: &str) -> Result<Name, Problem> {
    Name::new(text).map_err(|error| Problem::bad(error.to_string()))
}

/// Reads a capability.
pub(super) fn cap(text: &str) -> Result<Cap, Problem> {
    text.trim().parse().map_err(|_| Problem::bad("Invalid capability"))
}

fn boolean(text: &str) -> Result<bool, Problem> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "1" | "on" => Ok(true),
        "false" | "f" | "0" | "off" => Ok(false),
        _ => Err(Problem::bad("invalid boolean argument")),
    }
}

fn parse(text: &str) -> Vec<(String, String)> {
    let decode = |part: &str| percent_decode_str(&part.replace('+', " ")).decode_utf8_lossy().into_owned();
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    };
    text.split('&').filter(|part| !part.is_empty()).map(pair).collect()
}

/// A capability, and names to follow from there: the part of a URL's path behind `/uri/`.
pub(super) fn path(raw: &str) -> Result<(Cap, Vec<Name>), Problem> {
    let mut parts = raw.split('/');
    let decode = |part: &str| {
        let text = percent_decode_str(part).decode_utf8();
        text.map(|text| text.into_owned()).map_err(|_| Problem::bad("the path is no UTF-8"))
    };
    let root = cap(&decode(parts.next().unwrap_or_default())?)?;
    let mut rest: Vec<&str> = parts.collect();
    if rest.last() == Some(&"") {
        rest.pop();
    }
    if rest.len() > MAX_DEPTH {
        return Err(Problem::bad(format!("more than {MAX_DEPTH} names in one path")));
    }
    let mut names = Vec::with_capacity(rest.len());
    for part in rest {
        if part.is_empty() {
            let text = "The webapi does not allow empty pathname components, i.e. a double slash";
            return Err(Problem::bad(text));
        }
        names.push(name(&decode(part)?)?);
    }
    Ok((root, names))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_of_the_url_count_first() {
        let mut args = Args::of_query(&"/uri?t=json&name=a%20b+c&replace=only-files".parse().unwrap());
        args.add_form("t=uri&uri=x%3Ay");
        assert_eq!((args.t(), args.get("name"), args.get("uri")), ("json", Some("a b c"), Some("x:y")));
        assert_eq!(args.replace().unwrap(), Replace::OnlyFiles);
        assert!(Args::of_query(&"/?mutable=maybe".parse().unwrap()).format().is_err());
    }

    #[test]
    fn a_path_begins_with_a_cap() {
        let (cap, names) = path("URI%3ALIT%3A/a%2Cb/%C3%BC/").unwrap();
        assert_eq!((cap.to_string().as_str(), names.len()), ("URI:LIT:", 2));
        for bad in
            ["URI%3ALIT%3A//a", "nonsense/a", "URI%3ALIT%3A/%2e%2e", "URI%3ALIT%3A/a%2fb", "URI%3ALIT%3A/%ff"]
        {
            assert!(path(bad).is_err(), "{bad}");
        }
    }
}
