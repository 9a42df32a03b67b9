//! `/uri/CAP[/path]`: what a cap, and names from there, lead to.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use caps::Cap;
use client::Client;
use client::filestore::{Child, DirEdit, FileStoreError, Refusal, Replace, Target};
use encoding::directory::{EntryKind, FileContent, Name};

use super::answer::{Answer, Problem, TEXT, either, known, tagged, text, with_tag};
use super::args::{self, Args};
use super::form::{self, Posted};
use super::{check, deep, directory, file, json, manifest, pages, stats};
use crate::Gateway;
use crate::content::{self, Conditions, Disposition, Opened, Serve, of_name, tag_of};

/// What a file is called whose name no request gives.
pub(super) const NAMELESS: &str = "a file";

/// A request of something linked.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) gateway: Arc<Gateway>,
    /// The client at work for the root that is named.
    pub(super) client: Client,
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) args: Args,
    pub(super) root: Cap,
    pub(super) names: Vec<Name>,
}

impl Call {
    /// What the path leads to now.
    pub(super) async fn target(&self) -> Result<Target, FileStoreError> {
        self.client.resolve(&self.root, &self.names).await
    }
}

pub(super) async fn answer(
    State(gateway): State<Arc<Gateway>>,
    request: Request,
) -> Result<Response, Infallible> {
    either(dispatch(gateway, request).await)
}

async fn dispatch(gateway: Arc<Gateway>, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let args = Args::of_query(&parts.uri);
    let raw = parts.uri.path().splitn(3, '/').nth(2).unwrap_or_default();
    let (root, names) = args::path(raw)?;
    let client = gateway.client().under(&root);
    let mut call = Call { gateway, client, method: parts.method, headers: parts.headers, args, root, names };
    match call.method {
        Method::GET | Method::HEAD => get(&call).await,
        Method::PUT => put(&call, body).await,
        Method::DELETE => directory::unlink_path(&call).await,
        Method::POST => {
            let posted = if takes_json(call.args.t()) {
                Posted::Body(body)
            } else {
                let gateway = call.gateway.clone();
                form::posted(&gateway, &call.headers, &mut call.args, body).await?
            };
            post(call, posted).await
        }
        _ => not_allowed(),
    }
}

pub(super) fn not_allowed() -> Answer {
    let mut response = text("there is no such method here\n");
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    let allowed = HeaderValue::from_static("GET, HEAD, PUT, POST, DELETE");
    response.headers_mut().insert(header::ALLOW, allowed);
    Ok(response)
}

async fn get(call: &Call) -> Answer {
    // What never changes is opened while its path is confirmed.
    let wants_content = call.args.t().is_empty() && !Conditions::of(&call.headers).are_there();
    let wants_all = call.method == Method::GET && !call.headers.contains_key(header::RANGE);
    let open_early = async |target: Target| match &target.cap {
        cap @ Cap::ImmutableRead(_) if wants_content && !cap.is_directory() => Some(match wants_all {
            true => content::open_and_read(&call.gateway, cap).await,
            false => content::open(&call.gateway, cap).await,
        }),
        _ => None,
    };
    let (target, opened) = match call.client.resolve_and(&call.root, &call.names, open_early).await {
        // Tahoe's words for a path through a file.
        Err(FileStoreError::NotADirectory { .. }) => return Err(Problem::bad("Files have no children")),
        found => found?,
    };
    match call.args.t() {
        t @ ("" | "json") if target.kind() == EntryKind::Directory => list(call, target, t).await,
        "" => serve(call, &target, opened.transpose()?).await,
        "json" => json::respond(call, target).await,
        "uri" => Ok(tagged(&call.headers, target.cap.to_string(), TEXT)),
        "readonly-uri" => {
            let read = target.cap.read().unwrap_or(target.cap);
            Ok(tagged(&call.headers, read.to_string(), TEXT))
        }
        "info" => pages::info(call, &target).await,
        "rename-form" => pages::rename_form(call, &target),
        _ => Err(Problem::bad("GET: bad t=")),
    }
}

/// What is in a directory. One that never changes has a tag.
async fn list(call: &Call, target: Target, t: &str) -> Answer {
    let tag = match &target.cap {
        Cap::ImmutableRead(read) if t.is_empty() => Some(format!("\"{}\"", read.hash)),
        Cap::ImmutableRead(read) => Some(format!("\"{}-json\"", read.hash)),
        _ => None,
    };
    if let Some(answer) = tag.as_ref().and_then(|tag| known(&call.headers, tag)) {
        return Ok(answer);
    }
    let answer = match t {
        "" => pages::directory(call, &target).await,
        _ => json::respond(call, target).await,
    }?;
    Ok(match tag {
        Some(tag) => with_tag(answer, &tag),
        None => answer,
    })
}

/// Serves a file, which may have been opened already.
async fn serve(call: &Call, target: &Target, opened: Option<Opened>) -> Answer {
    let named = call.args.get("filename").or(call.names.last().map(Name::as_str));
    let disposition = if call.args.flag("save")? { Disposition::Attachment } else { Disposition::Inline };
    // Without an ending that says more it is text, as with Tahoe.
    let content_type = named.and_then(of_name).is_none().then_some("text/plain");
    let transfer = client::Transfer::default();
    let serve = Serve { name: named, disposition, content_type, framed: false, transfer: transfer.clone() };
    let response = match opened {
        Some(opened) => content::answer(opened, &call.method, &call.headers, serve).await,
        None => content::respond(&call.gateway, &target.cap, &call.method, &call.headers, serve).await,
    }?;
    let transfers = &call.gateway.shared().transfers;
    Ok(transfers.watch_body(named.unwrap_or(NAMELESS), &target.cap, transfer, response))
}

async fn put(call: &Call, body: Body) -> Answer {
    match call.args.t() {
        "" => file::put(call, body).await,
        "uri" => directory::put_cap(call, body).await,
        "mkdir" => directory::make(call, Vec::new()).await,
        _ => Err(Problem::bad("PUT to a file: bad t=")),
    }
}

/// Whether the body of such a POST is a list of children and no form, whatever it says of itself.
fn takes_json(t: &str) -> bool {
    matches!(t, "mkdir-with-children" | "mkdir-immutable" | "set_children" | "set-children")
}

async fn post(mut call: Call, posted: Posted) -> Answer {
    let t = call.args.t().to_owned();
    next_page(&call.args)?;
    let done = match (t.as_str(), posted) {
        ("upload", Posted::File(file)) => file::post(&mut call, *file).await,
        ("upload", Posted::Body(_)) => Err(Problem::bad("t=upload wants a form with a field named file")),
        (_, Posted::File(_)) => Err(Problem::bad("only t=upload takes a file")),
        ("mkdir", _) => directory::make(&call, Vec::new()).await,
        ("mkdir-p", _) => directory::make_path(&call).await,
        ("mkdir-with-children", Posted::Body(body)) => directory::make_with_children(&call, body).await,
        ("mkdir-immutable", Posted::Body(body)) => directory::make_immutable(&call, body).await,
        ("set_children" | "set-children", Posted::Body(body)) => directory::set_children(&call, body).await,
        ("uri", _) => directory::link(&call).await,
        ("unlink" | "delete", _) => directory::unlink(&call).await,
        ("rename", _) if call.args.get("to_dir").is_some() => {
            Err(Problem::bad("to_dir= is not valid for rename"))
        }
        ("rename", _) if call.args.get("to_name").is_none() => {
            Err(Problem::bad("to_name= is required for rename"))
        }
        ("rename" | "relink", _) => directory::relink(&call).await,
        ("check", _) => check::respond(&call).await,
        ("start-deep-check", _) => deep::start(&call).await,
        ("stream-deep-check", _) => deep::stream(&call).await,
        ("start-manifest", _) => manifest::start(&call).await,
        ("stream-manifest", _) => manifest::stream(&call).await,
        ("start-deep-stats" | "start-deep-size", _) => stats::start(&call).await,
        ("deep-size", _) => stats::size(&call).await,
        ("info", _) => pages::info(&call, &call.target().await?).await,
        _ => Err(Problem::bad("POST: bad t=")),
    }?;
    when_done(&call.args, done)
}

/// The page to go on to, where the form says so: one of this gateway's, since a form could name any.
fn next_page(args: &Args) -> Result<Option<&str>, Problem> {
    let Some(to) = args.get("when_done").filter(|to| !to.is_empty()) else { return Ok(None) };
    let before_path = to.split(['/', '?', '#']).next().unwrap_or_default();
    // A scheme ends in a colon, and another host stands behind two slashes, of either kind.
    let local = !before_path.contains(':') && !to.starts_with("//") && !to.contains('\\');
    match local && to.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(Some(to)),
        false => Err(Problem::bad("when_done= may only lead to a page of this gateway")),
    }
}

/// Goes on there, after what went well.
pub(super) fn when_done(args: &Args, done: Response) -> Answer {
    match next_page(args)? {
        Some(to) if done.status().is_success() => super::answer::redirect(StatusCode::FOUND, to),
        _ => Ok(done),
    }
}

/// `/file/CAP/name` and `/named/CAP/name`: a file whose type follows from a name that is no part of its path.
pub(super) async fn named(
    State(gateway): State<Arc<Gateway>>,
    request: Request,
) -> Result<Response, Infallible> {
    either(serve_named(gateway, request).await)
}

async fn serve_named(gateway: Arc<Gateway>, request: Request) -> Answer {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return not_allowed();
    }
    let raw = request.uri().path().splitn(3, '/').nth(2).unwrap_or_default();
    let (cap, names) = args::path(raw)?;
    if cap.is_directory() {
        return Err(Problem::bad("/file can only be used on files"));
    }
    let mut args = Args::of_query(request.uri());
    if let Some(name) = names.last() {
        args.add("filename".into(), name.to_string());
    }
    let client = gateway.client().under(&cap);
    let (method, headers) = (request.method().clone(), request.headers().clone());
    let call = Call { gateway, client, method, headers, args, root: cap.clone(), names: Vec::new() };
    self::serve(&call, &Target { cap, entry: None }, None).await
}

/// What a change may replace, as the conditions of its request say. The directory or file itself holds it against what is there then.
#[derive(Default)]
pub(super) struct Expected {
    /// What the entry names: nothing, or this cap.
    entry: Option<Option<Cap>>,
    /// What a mutable file says.
    pub(super) content: Option<FileContent>,
}

impl Expected {
    /// Whether there is a condition.
    pub(super) fn is_any(&self) -> bool {
        self.entry.is_some()
    }

    pub(super) fn link(&self, name: Name, child: Child, replace: Replace) -> DirEdit {
        let child = Box::new(child);
        match &self.entry {
            None => DirEdit::Link { name, child, replace },
            Some(None) => DirEdit::Link { name, child, replace: Replace::No },
            Some(Some(only)) => DirEdit::Swap { name, child, only: only.clone() },
        }
    }

    /// A change that was refused since somebody else was first does not meet its condition.
    pub(super) fn judge<T>(&self, done: Result<T, FileStoreError>) -> Result<T, Problem> {
        done.map_err(|error| match error {
            FileStoreError::Refused(
                Refusal::Replaced { .. } | Refusal::Exists { .. } | Refusal::NoEntry { .. },
            ) if self.is_any() => unmet(),
            error => error.into(),
        })
    }
}

fn unmet() -> Problem {
    Problem::new(StatusCode::PRECONDITION_FAILED, "it is not what you take it for")
}

/// Refuses a change whose conditions do not hold of what is there, and says what they make of it else.
pub(super) async fn check_conditions(call: &Call, there: Option<&Cap>) -> Result<Expected, Problem> {
    let conditions = Conditions::of(&call.headers);
    if !conditions.are_there() {
        return Ok(Expected::default());
    }
    let mut content = None;
    let tag = match there {
        // What never changes need not be there any more, so that a lost file can be replaced.
        Some(cap) if cap.is_directory() || matches!(cap, Cap::ImmutableRead(_)) => {
            Some(format!("\"{}\"", cap.verify_hash().map(|hash| hash.to_string()).unwrap_or_default()))
        }
        Some(cap) => match cap.read() {
            Some(Cap::SlotRead(read)) => {
                let found = call.client.read_mutable(&read).await?.content;
                let tag = tag_of(&found);
                content = Some(found);
                Some(tag)
            }
            _ => Some(crate::content::open(&call.gateway, cap).await?.tag().to_owned()),
        },
        None => None,
    };
    match conditions.forbids_change(tag.as_deref()) {
        true => Err(unmet()),
        false => Ok(Expected { entry: Some(there.cloned()), content }),
    }
}
