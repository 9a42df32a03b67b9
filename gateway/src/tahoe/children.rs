//! Lists of children that clients send: `{"name": ["filenode", {"ro_uri": .., "rw_uri": .., "metadata": ..}]}`.

use std::collections::BTreeMap;

use caps::Cap;
use client::Client;
use client::filestore::{Child, DirView};
use encoding::directory::{Metadata, Mutability, Name};
use serde::de::{Error, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::answer::Problem;
use super::args;
use super::metadata;
use crate::Gateway;

/// The most children in one request.
const MAX: usize = 200_000;

struct Given {
    name: Name,
    write: Option<Cap>,
    read: Option<Cap>,
    metadata: Option<Metadata>,
}

/// Reads such a list; for those without metadata, what `before` says of them is kept.
pub(super) async fn read(
    gateway: &Gateway,
    client: &Client,
    json: &[u8],
    mutability: Mutability,
    before: Option<&DirView>,
) -> Result<Vec<(Name, Child)>, Problem> {
    let given = parse(json)?;
    let salts = &gateway.tahoe().salts;
    let caps =
        given.iter().filter_map(|given| given.write.as_ref().or(given.read.as_ref())?.read()).collect();
    salts.learn(client, caps).await;
    let mut children = Vec::with_capacity(given.len());
    for Given { name, write, read, metadata } in given {
        let child = salts.child(client, write, read, mutability).await?;
        let metadata = match (metadata, before) {
            (Some(metadata), _) => metadata,
            (None, Some(before)) => kept(before, &name).await?,
            (None, None) => Metadata::default(),
        };
        children.push((name, with(child, metadata)));
    }
    Ok(children)
}

/// What is said of what is there, as far as it may be true of what comes in its place.
pub(super) async fn kept(view: &DirView, name: &Name) -> Result<Metadata, Problem> {
    let metadata = view.get(name).await?.map(|entry| entry.metadata).unwrap_or_default();
    Ok(Metadata { size: None, symlink: None, hardlink: None, ..metadata })
}

/// The child with these metadata, which may say that it is not to be written.
pub(super) fn with(mut child: Child, metadata: Metadata) -> Child {
    if metadata::forbids_writing(&metadata) {
        child.caps.write = None;
    }
    child.with(metadata)
}

/// A child as it is sent, read into what is kept of it at once.
#[derive(Deserialize)]
struct Sent(IgnoredAny, Details);

#[derive(Deserialize)]
struct Details {
    rw_uri: Option<String>,
    ro_uri: Option<String>,
    metadata: Option<Said>,
}

struct Said(Metadata);

impl<'de> Deserialize<'de> for Said {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(from)?;
        metadata::of_json(&value).map(Self).map_err(|Problem(failure)| Error::custom(failure.text))
    }
}

fn parse(json: &[u8]) -> Result<Vec<Given>, Problem> {
    // What serde says of it may show a capability.
    let children: BTreeMap<String, Sent> = serde_json::from_slice(json).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Problem::bad(format!("the children are not as they should be: line {line}, column {column}"))
    })?;
    if children.len() > MAX {
        return Err(Problem::bad(format!("more than {MAX} children in one request")));
    }
    children.into_iter().map(|(name, Sent(_, details))| one(&name, details)).collect()
}

fn one(name: &str, details: Details) -> Result<Given, Problem> {
    let cap = |text: Option<String>| match text.as_deref() {
        None | Some("") => Ok(None),
        Some(text) => args::cap(text).map(Some),
    };
    let metadata = details.metadata.map(|Said(metadata)| metadata);
    Ok(Given { name: args::name(name)?, write: cap(details.rw_uri)?, read: cap(details.ro_uri)?, metadata })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_children_shows_no_cap() {
        let good = br#"{"a": ["filenode", {"ro_uri": "URI:LIT:", "more": [1], "metadata": {"mtime": 5}}], "b": ["x", {}]}"#;
        let read = parse(good).ok().unwrap();
        assert_eq!((read.len(), read[0].metadata.is_some(), read[1].read.is_some()), (2, true, false));
        for bad in [
            r#"{"a": ["x", "URI:LIT:"]}"#,
            r#"{"a": "URI:LIT:"}"#,
            r#"["URI:LIT:"]"#,
            r#"{"a/URI:LIT:": ["x", {}]}"#,
        ] {
            let Problem(failure) = parse(bad.as_bytes()).err().unwrap();
            assert!(failure.status == 400 && !failure.text.contains("URI"), "{}", failure.text);
        }
    }
}
