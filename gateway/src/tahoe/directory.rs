//! Changes of directories.

use axum::body::Body;
use caps::{Cap, SlotWrite};
use client::filestore::{Child, DirEdit, DirView, FileStoreError, Replace};
use encoding::directory::{Mutability, Name};

use super::answer::{Answer, Problem, text};
use super::args::{self, Format};
use super::body::{MAX_JSON, whole};
use super::children;
use super::linked::{Call, Expected, check_conditions};

fn writer(view: &DirView) -> Result<&SlotWrite, Problem> {
    view.writer().ok_or_else(|| FileStoreError::ReadOnly { what: "changing a directory".into() }.into())
}

fn refuse_immutable(call: &Call) -> Result<(), Problem> {
    match call.args.format()? {
        Some(Format::Immutable) => Err(Problem::bad("format=CHK is not accepted for a directory")),
        _ => Ok(()),
    }
}

/// `t=mkdir`, at the path itself or, with `name=`, in the directory there.
pub(super) async fn make(call: &Call, children: Vec<(Name, Child)>) -> Answer {
    refuse_immutable(call)?;
    if let Some(name) = call.args.name("name")? {
        let parent = call.client.make_path(&call.root, &call.names).await?;
        let child = call.client.make_directory_with(children).await?;
        return link_new(call, &parent, name, child, call.args.replace()?).await;
    }
    let view = call.client.make_path(&call.root, &call.names).await?;
    Ok(text(view.cap().to_string()))
}

/// `t=mkdir-p`: the same, with the path in an argument.
pub(super) async fn make_path(call: &Call) -> Answer {
    let path = call.args.get("path").ok_or_else(|| Problem::bad("mkdir-p requires a path"))?;
    let mut names = call.names.clone();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        names.push(args::name(part)?);
    }
    let view = call.client.make_path(&call.root, &names).await?;
    Ok(text(view.cap().to_string()))
}

/// The directory, and the name in it, that a new one gets.
async fn new_place(call: &Call) -> Result<(DirView, Name), Problem> {
    if let Some(name) = call.args.name("name")? {
        return Ok((call.client.make_path(&call.root, &call.names).await?, name));
    }
    if call.names.is_empty() {
        return Err(Problem::exists());
    }
    let place = call.client.make_place(&call.root, &call.names).await?;
    Ok((place.parent, place.name))
}

pub(super) async fn make_with_children(call: &Call, mut body: Body) -> Answer {
    refuse_immutable(call)?;
    let (json, _held) = whole(&call.gateway, &mut body, MAX_JSON).await?;
    let children = children::read(&call.gateway, &call.client, &json, Mutability::Mutable, None).await?;
    let (parent, name) = new_place(call).await?;
    let replace = replace_if_asked(call, &parent, &name).await?;
    let child = call.client.make_directory_with(children).await?;
    link_new(call, &parent, name, child, replace).await
}

pub(super) async fn make_immutable(call: &Call, mut body: Body) -> Answer {
    let (json, _held) = whole(&call.gateway, &mut body, MAX_JSON).await?;
    let children = children::read(&call.gateway, &call.client, &json, Mutability::Immutable, None).await?;
    let (parent, name) = new_place(call).await?;
    let replace = replace_if_asked(call, &parent, &name).await?;
    let child = call.client.make_immutable(children).await?;
    link_new(call, &parent, name, child, replace).await
}

/// What is there is replaced only where `replace=` says so, and only from the directory that holds it.
async fn replace_if_asked(call: &Call, parent: &DirView, name: &Name) -> Result<Replace, Problem> {
    if call.args.get("replace").is_some() && call.args.name("name")?.is_some() {
        let replace = call.args.replace()?;
        if replace != Replace::No {
            writer(parent)?;
            return Ok(replace);
        }
    }
    free(parent, name).await?;
    Ok(Replace::No)
}

/// What is there already is not made: this is found out before anything is stored.
async fn free(parent: &DirView, name: &Name) -> Result<(), Problem> {
    writer(parent)?;
    if parent.get(name).await?.is_some() { Err(Problem::exists()) } else { Ok(()) }
}

async fn link_new(call: &Call, parent: &DirView, name: Name, child: Child, replace: Replace) -> Answer {
    call.gateway.tahoe().salts.remember(&child);
    let cap = child.cap().to_string();
    let edit = DirEdit::Link { name, child: Box::new(child), replace };
    call.client.edit_entry(writer(parent)?, edit).await?;
    Ok(text(cap))
}

/// The directory at the path.
async fn here(call: &Call) -> Result<DirView, Problem> {
    let target = call.target().await?;
    if !target.cap.is_directory() {
        return Err(Problem::bad("this is not a directory"));
    }
    Ok(call.client.open_directory(&target.cap).await?)
}

/// `PUT ..?t=uri`: links the cap in the body under the path's last name.
pub(super) async fn put_cap(call: &Call, mut body: Body) -> Answer {
    let (bytes, _held) = whole(&call.gateway, &mut body, 64 * 1024).await?;
    let given = std::str::from_utf8(&bytes).map_err(|_| Problem::bad("Invalid capability"))?.trim();
    if call.names.is_empty() {
        return Err(Problem::bad("PUT t=uri names a place in a directory"));
    }
    let place = call.client.make_place(&call.root, &call.names).await?;
    let there = place.entry.as_ref().map(|entry| place.parent.cap_of(entry)).transpose()?;
    let expected = check_conditions(call, there.as_ref()).await?;
    if expected.is_any() && there.is_some() {
        match call.args.replace()? {
            Replace::No => return Err(Problem::exists()),
            Replace::OnlyFiles if there.as_ref().is_some_and(Cap::is_directory) => {
                return Err(Problem::exists());
            }
            _ => {}
        }
    }
    link_cap(call, &place.parent, place.name, given, &expected).await
}

/// `POST ..?t=uri&name=&uri=`.
pub(super) async fn link(call: &Call) -> Answer {
    let given = call.args.get("uri").filter(|uri| !uri.is_empty());
    let given = given.ok_or_else(|| Problem::bad("set-uri requires a uri"))?;
    let name = call.args.name("name")?.ok_or_else(|| Problem::bad("set-uri requires a name"))?;
    let parent = call.client.make_path(&call.root, &call.names).await?;
    link_cap(call, &parent, name, given, &Expected::default()).await
}

async fn link_cap(call: &Call, parent: &DirView, name: Name, given: &str, expected: &Expected) -> Answer {
    let salts = &call.gateway.tahoe().salts;
    // Before anything is asked for: whoever may not write learns that first.
    let writer = writer(parent)?;
    let child = salts.child(&call.client, Some(args::cap(given)?), None, Mutability::Mutable).await?;
    let child = children::with(child, children::kept(parent, &name).await?);
    let edit = expected.link(name, child, call.args.replace()?);
    expected.judge(call.client.edit_entry(writer, edit).await)?;
    Ok(text(given))
}

/// `t=set_children`: links all of them in one round.
pub(super) async fn set_children(call: &Call, mut body: Body) -> Answer {
    let view = here(call).await?;
    writer(&view)?;
    let (json, _held) = whole(&call.gateway, &mut body, MAX_JSON).await?;
    let children =
        children::read(&call.gateway, &call.client, &json, Mutability::Mutable, Some(&view)).await?;
    let replace = call.args.replace()?;
    if replace == Replace::No {
        // All or nothing, as far as can be seen beforehand.
        for (name, _) in &children {
            free(&view, name).await?;
        }
    }
    let link = |(name, child)| DirEdit::Link { name, child: Box::new(child), replace };
    let edits = children.into_iter().map(link).collect();
    for outcome in call.client.edit_directory(writer(&view)?, edits).await? {
        outcome.map_err(FileStoreError::from)?;
    }
    Ok(text("Okay so I did it."))
}

/// `t=unlink&name=`.
pub(super) async fn unlink(call: &Call) -> Answer {
    let name = call.args.name("name")?.ok_or_else(|| Problem::bad("unlink requires a name"))?;
    let view = here(call).await?;
    call.client.edit_entry(writer(&view)?, DirEdit::Unlink { name, only: None }).await?;
    Ok(text("thing unlinked"))
}

/// `DELETE`: the answer is the cap of what was unlinked.
pub(super) async fn unlink_path(call: &Call) -> Answer {
    if call.names.is_empty() {
        return Err(Problem::bad("DELETE names a place in a directory"));
    }
    let place = call.client.place(&call.root, &call.names).await?;
    let Some(entry) = &place.entry else {
        return Err(FileStoreError::NoEntry { path: place.name.to_string() }.into());
    };
    let cap = place.parent.cap_of(entry)?;
    let expected = check_conditions(call, Some(&cap)).await?;
    let writer = writer(&place.parent)?;
    let edit = DirEdit::Unlink { name: place.name.clone(), only: Some(entry.cap.clone()) };
    expected.judge(call.client.edit_entry(writer, edit).await)?;
    Ok(text(cap.to_string()))
}

/// `t=rename`, `t=relink`: within one directory in one step; to another, first linked there and then unlinked here.
pub(super) async fn relink(call: &Call) -> Answer {
    let from = call.args.name("from_name")?.ok_or_else(|| Problem::bad("from_name= is required"))?;
    let to = call.args.name("to_name")?.unwrap_or_else(|| from.clone());
    let replace = call.args.replace()?;
    let view = here(call).await?;
    let source = writer(&view)?;
    let elsewhere = match call.args.get("to_dir").map(str::trim).filter(|text| !text.is_empty()) {
        Some(text) => Some(other_directory(call, text).await?),
        None => None,
    };
    match elsewhere.filter(|other| other.cap().verify_hash() != view.cap().verify_hash()) {
        None => {
            call.client.edit_entry(source, DirEdit::Rename { from, to, replace }).await?;
        }
        Some(other) => {
            let entry = view.get(&from).await?;
            let entry = entry.ok_or_else(|| FileStoreError::NoEntry { path: from.to_string() })?;
            let child = Box::new(view.child_of(&entry)?);
            call.client.edit_entry(writer(&other)?, DirEdit::Link { name: to, child, replace }).await?;
            let edit = DirEdit::Unlink { name: from, only: Some(entry.cap.clone()) };
            call.client.edit_entry(source, edit).await?;
        }
    }
    Ok(text("thing moved"))
}

async fn other_directory(call: &Call, text: &str) -> Result<DirView, Problem> {
    let mut parts = text.trim_end_matches('/').split('/');
    let root: Cap = args::cap(parts.next().unwrap_or_default())?;
    let names = parts.map(args::name).collect::<Result<Vec<_>, _>>()?;
    let target = call.client.resolve(&root, &names).await?;
    if !target.cap.is_directory() {
        return Err(Problem::bad("to_dir is not a directory"));
    }
    Ok(call.client.open_directory(&target.cap).await?)
}

/// A directory that is linked nowhere yet.
pub(super) async fn unlinked(
    gateway: &crate::Gateway,
    kind: &str,
    json: Option<&[u8]>,
) -> Result<Child, Problem> {
    let client = gateway.client();
    let mutability = if kind == "mkdir-immutable" { Mutability::Immutable } else { Mutability::Mutable };
    let children = match json {
        Some(json) => children::read(gateway, client, json, mutability, None).await?,
        None => Vec::new(),
    };
    let child = match mutability {
        Mutability::Mutable => client.make_directory_with(children).await?,
        Mutability::Immutable => client.make_immutable(children).await?,
    };
    gateway.tahoe().salts.remember(&child);
    Ok(child)
}
