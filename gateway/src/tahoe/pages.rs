//! Pages without script: what is in a directory, and what something is.

use std::time::{Duration, UNIX_EPOCH};

use axum::http::{HeaderValue, Method};
use axum::response::Response;
use client::filestore::{DirView, FileStoreError, Target};
use encoding::directory::{Entry, EntryKind, Name, Time};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::answer::{
    Answer, HTML, Problem, Writer, escaped, known, page, streamed, tag_of_listing, text, with_tag,
};
use super::linked::Call;
use crate::content;

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

/// How they look: as the page with script does, in what the system calls light or dark, on a phone too.
const STYLE: &str = ":root{color-scheme:light dark;--line:light-dark(#dde3e4,#333c40);--quiet:light-dark(#566468,#9fb0b5);--accent:light-dark(#0f6b62,#4fc3b4)}\
    *{box-sizing:border-box}body{font:16px/1.45 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem;background:light-dark(#f6f7f7,#14181a);color:light-dark(#182023,#e8edee)}\
    h1{font-size:1.4rem;margin:.6rem 0;overflow-wrap:anywhere}a{color:var(--accent)}nav{overflow-wrap:anywhere}p,.quiet{color:var(--quiet)}.doubt{color:light-dark(#7a4b00,#f0c674);border:1px solid;border-radius:8px;padding:.5rem .8rem}\
    table{border-collapse:collapse;width:100%;background:light-dark(#fff,#1c2124)}th,td{text-align:start;vertical-align:baseline;padding:.55rem .6rem;border-bottom:1px solid var(--line)}\
    thead th{color:var(--quiet);font-size:.85rem}td:first-child{overflow-wrap:anywhere;width:99%}.n{text-align:end;white-space:nowrap;font-variant-numeric:tabular-nums}\
    table:not(.list) td{overflow-wrap:anywhere}table:not(.list) th{white-space:nowrap}td a{display:inline-block;padding:.2rem 0}\
    form p{display:flex;flex-wrap:wrap;gap:.6rem;align-items:center}input,button{font:inherit;color:inherit;background:light-dark(#fff,#252b2f);border:1px solid light-dark(#7d8b8f,#72828a);border-radius:8px;padding:.4rem .7rem;max-width:100%}\
    :focus-visible{outline:2.5px solid var(--accent);outline-offset:2px}@media(max-width:40rem){.wide{display:none}th,td{padding:.55rem .35rem}}";

/// Above a directory that was read without a quorum.
const DOUBT: &str = "<p class=\"doubt\"><b>This may be old.</b> Too few servers answered to be sure: it is the newest that they have. \
    What was changed since may be missing.</p>\n";

fn head(title: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{0}</title><style>{STYLE}</style></head>\n<body><h1 dir=\"auto\">{0}</h1>\n",
        escaped(title)
    )
}

/// The way from the root to what a call names, each step but the last a link.
fn way(call: &Call) -> String {
    let Some((last, steps)) = call.names.split_last() else { return String::new() };
    let mut to = format!("/uri/{}", quoted(&call.root.to_string()));
    let mut way = format!("<nav aria-label=\"Way\"><a href=\"{to}\">Top</a>");
    for name in steps {
        to.push('/');
        to.push_str(&quoted(name.as_str()));
        way.push_str(&format!(" / <a href=\"{to}\"><bdi>{}</bdi></a>", escaped(name.as_str())));
    }
    way.push_str(&format!(" / <bdi>{}</bdi></nav>\n", escaped(last.as_str())));
    way
}

/// 1234567 -> "1.2 MB", by powers of 1000.
fn readable(size: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if size < 1000 {
        return format!("{size} B");
    }
    let (mut tenths, mut unit) = (size / 100, 0);
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1000;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// A time in UTC to the minute; `None` for one that no calendar of four-digit years has.
fn moment(time: Time) -> Option<String> {
    const YEAR_10000: i64 = 253_402_300_800;
    let since = u64::try_from(time.seconds).ok().filter(|_| time.seconds < YEAR_10000)?;
    let text = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(since)).to_string();
    Some(text.get(..16)?.replacen('T', " ", 1))
}

/// What is in a directory, with links to all of it.
pub(super) async fn directory(call: &Call, target: &Target) -> Answer {
    let view = call.client.open_directory(&target.cap).await?;
    let tag = tag_of_listing(&view, "html");
    if let Some(answer) = tag.as_ref().and_then(|tag| known(&call.headers, tag)) {
        return Ok(answer);
    }
    let doubtful = view.is_doubtful();
    let tagged = |mut answer: Response| {
        if doubtful {
            answer.headers_mut().insert(content::FRESHNESS, HeaderValue::from_static("newest-seen"));
        }
        match &tag {
            Some(tag) => with_tag(answer, tag),
            None => answer,
        }
    };
    view.entries().next().await.map_err(Problem::from)?;
    if call.method == Method::HEAD {
        return Ok(tagged(page(String::new())));
    }
    let title = call.names.last().map_or("Directory", Name::as_str).to_owned();
    let note = if doubtful { DOUBT } else { "" };
    let (start, here) = (head(&title) + &way(call) + note, here(call));
    Ok(tagged(streamed(HTML, move |writer| write(writer, view, start, here))))
}

async fn write(mut writer: Writer, view: DirView, start: String, here: String) {
    let what = if view.writer().is_some() { "can be changed" } else { "can only be read" };
    let start = start
        + &format!(
            "<p>This directory {what} with the capability in this address: it is a secret. <a href=\"{here}?t=info\">More about it</a></p>\n\
             <table class=\"list\"><thead><tr><th>Name<th class=\"wide\">Kind<th class=\"n\">Size<th class=\"n\">Modified<span class=\"wide\">, UTC</span><th><span class=\"wide\">Download</span></thead><tbody>\n"
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
    let metadata = &entry.metadata;
    let size = match entry.kind {
        EntryKind::File => entry.cap.size().or(metadata.size),
        _ => None,
    };
    let size = size.map(|size| format!(" title=\"{size} bytes\">{}", readable(size)));
    let time = metadata.mtime.or(metadata.link_modified).and_then(moment);
    let time = time.map(|time| {
        time.split_once(' ')
            .map_or(time.clone(), |(day, clock)| format!("{day}<span class=\"wide\"> {clock}</span>"))
    });
    let (to, shown) = (format!("{here}/{}", quoted(name.as_str())), escaped(name.as_str()));
    let get = match entry.kind {
        EntryKind::File | EntryKind::Symlink => {
            format!(
                "<a href=\"{to}?save=true\" title=\"Download {shown}\" aria-label=\"Download {shown}\">\u{2193}</a>"
            )
        }
        EntryKind::Directory | EntryKind::Unknown => String::new(),
    };
    let mark = if entry.kind == EntryKind::Directory { "/" } else { "" };
    format!(
        "<tr><td><a href=\"{to}\"><bdi>{shown}</bdi>{mark}</a><td class=\"wide\">{kind}<td class=\"n\"{}<td class=\"n\">{}<td>{get}\n",
        size.unwrap_or_else(|| ">".into()),
        time.unwrap_or_default()
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
