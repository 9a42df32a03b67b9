//! Lists of children that clients send: `{"name": ["filenode", {"ro_uri": .., "rw_uri": .., "metadata": ..}]}`.

use caps::Cap;
use client::Client;
use client::filestore::{Child, DirView};
use encoding::directory::{Metadata, Mutability, Name};
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

fn parse(json: &[u8]) -> Result<Vec<Given>, Problem> {
    let value: Value = serde_json::from_slice(json)
        .map_err(|error| Problem::bad(format!("the children are no JSON: {error}")))?;
    let Value::Object(children) = value else { return Err(Problem::bad("the children are no JSON object")) };
    if children.len() > MAX {
        return Err(Problem::bad(format!("more than {MAX} children in one request")));
    }
    children.iter().map(|(name, child)| one(name, child)).collect()
}

fn one(name: &str, child: &Value) -> Result<Given, Problem> {
    let details = child.get(1).and_then(Value::as_object);
    let details = details.ok_or_else(|| Problem::bad("a child is no pair of a type and its details"))?;
    let cap = |field: &str| match details.get(field).and_then(Value::as_str) {
        None | Some("") => Ok(None),
        Some(text) => args::cap(text).map(Some),
    };
    let metadata = match details.get("metadata") {
        None | Some(Value::Null) => None,
        Some(value) => Some(metadata::of_json(value)?),
    };
    Ok(Given { name: args::name(name)?, write: cap("rw_uri")?, read: cap("ro_uri")?, metadata })
}
