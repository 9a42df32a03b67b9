//! Pages without script: what is in a directory, and what something is.

use axum::http::Method;
use client::filestore::{DirView, FileStoreError, Target};
use encoding::directory::{Entry, EntryKind, Name};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::answer::{
    Answer, HTML, Problem, Writer, escaped, known, page, streamed, tag_of_listing, text, with_tag,
};
use super::linked::Call;

fn quoted(part: &str) -> String {
    utf8_percent_encode(part, NON_ALPHANUMERIC).to_string()
}

/// The address of what a call names.
fn here(call: &Call) -> String {
    let mut here = format!("/uri/{}", quoted(&call.root.to_string()));
    for name in &call.names {
        here.push('/');
        here.push_str(&quoted(name.as_str()));
    }
    here
}

fn head(title: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{0}</title></head>\n<body><h1>{0}</h1>\n",
        escaped(title)
    )
}

/// What is in a directory, with links to all of it.
pub(super) async fn directory(call: &Call, target: &Target) -> Answer {
    let view = call.client.open_directory(&target.cap).await?;
    let tag = tag_of_listing(&view, "html");
    if let Some(answer) = tag.as_ref().and_then(|tag| known(&call.headers, tag)) {
        return Ok(answer);
    }
    let tagged = |answer| match &tag {
        Some(tag) => with_tag(answer, tag),
        None => answer,
    };
    view.entries().next().await.map_err(Problem::from)?;
    if call.method == Method::HEAD {
        return Ok(tagged(page(String::new())));
    }
    let title = call.names.last().map_or("Directory", Name::as_str).to_owned();
    let here = here(call);
    Ok(tagged(streamed(HTML, move |writer| write(writer, view, title, here))))
}

async fn write(mut writer: Writer, view: DirView, title: String, here: String) {
    let what = if view.writer().is_some() { "can be changed" } else { "can only be read" };
    let start = head(&title)
        + &format!(
            "<p>This directory {what} with the capability in this address: it is a secret. <a href=\"{here}?t=info\">More about it</a></p>\n<table><thead><tr><th>Name<th>Kind<th>Size</thead><tbody>\n"
        );
    if writer.write(&start).await.is_err() {
        return;
    }
    let mut entries = view.entries();
    loop {
        match entries.next().await {
            Ok(Some((name, entry))) => {
                if writer.write(&row(&here, &name, &entry)).await.is_err() {
                    return;
                }
            }
            Ok(None) => break,
            Err(error) => return writer.break_off(&error).await,
        }
    }
    let form = match view.writer() {
        Some(_) => format!(
            "<form action=\"{here}\" method=\"post\" enctype=\"multipart/form-data\"><p>\
             <input type=\"hidden\" name=\"t\" value=\"upload\"><input type=\"hidden\" name=\"when_done\" value=\"{here}\">\
             <label>Store a file here: <input type=\"file\" name=\"file\"></label> <button>Upload</button></p></form>\n\
             <form action=\"{here}\" method=\"post\"><p><input type=\"hidden\" name=\"t\" value=\"mkdir\">\
             <input type=\"hidden\" name=\"replace\" value=\"false\"><input type=\"hidden\" name=\"when_done\" value=\"{here}\">\
             <label>New directory: <input name=\"name\"></label> <button>Make</button></p></form>\n"
        ),
        None => String::new(),
    };
    if writer.write(&format!("</tbody></table>\n{form}</body></html>\n")).await.is_ok() {
        let _ = writer.flush().await;
    }
}

fn row(here: &str, name: &Name, entry: &Entry) -> String {
    let kind = match entry.kind {
        EntryKind::Directory => "directory",
        EntryKind::File if entry.cap.is_mutable() => "mutable file",
        EntryKind::File => "file",
        EntryKind::Symlink => "symbolic link",
        EntryKind::Unknown => "unknown",
    };
    let size = match entry.kind {
        EntryKind::File => entry.cap.size().map(|size| size.to_string()).unwrap_or_default(),
        _ => String::new(),
    };
    format!(
        "<tr><td><a href=\"{here}/{}\">{}</a><td>{kind}<td>{size}\n",
        quoted(name.as_str()),
        escaped(name.as_str())
    )
}

/// `t=info`: what something is, and what its caps grant.
pub(super) async fn info(call: &Call, target: &Target) -> Answer {
    let cap = &target.cap;
    let mut rows = vec![
        ("Kind", cap.kind().to_owned()),
        ("This capability grants", cap.authority().to_string()),
        ("Size", cap.size().map_or("unknown".to_owned(), |size| format!("{size} bytes"))),
    ];
    if let Some(entry) = &target.entry {
        rows.push(("Metadata", super::metadata::to_json(&entry.metadata).to_string()));
    }
    rows.extend(cap.read().map(|read| ("To read it", read.to_string())));
    rows.extend(cap.verify().map(|verify| ("To check it", verify.to_string())));
    let rows = rows.iter().map(|(what, is)| format!("<tr><th>{what}<td>{}\n", escaped(is)));
    let title = call.names.last().map_or("About this capability", Name::as_str);
    Ok(page(format!("{}<table>\n{}</table></body></html>\n", head(title), rows.collect::<String>())))
}

/// `t=rename-form&name=`.
pub(super) fn rename_form(call: &Call, target: &Target) -> Answer {
    let name = call.args.name("name")?.ok_or_else(|| Problem::bad("rename-form requires a name"))?;
    if target.kind() != EntryKind::Directory {
        return Err(FileStoreError::NotADirectory { path: "this".into() }.into());
    }
    if call.method == Method::HEAD {
        return Ok(text(String::new()));
    }
    let (name, here) = (escaped(name.as_str()), here(call));
    Ok(page(format!(
        "{}<form action=\"{here}\" method=\"post\"><p><input type=\"hidden\" name=\"t\" value=\"rename\">\
         <input type=\"hidden\" name=\"from_name\" value=\"{name}\"><input type=\"hidden\" name=\"when_done\" value=\"{here}\">\
         <label>New name: <input name=\"to_name\" value=\"{name}\"></label> <button>Rename</button></p></form></body></html>\n",
        head("Rename")
    )))
}
