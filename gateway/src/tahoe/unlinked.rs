//! `/uri` itself: what is linked nowhere yet.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::answer::{Answer, Problem, either, escaped, page, redirect, text};
use super::args::{self, Args, Format};
use super::body::{MAX_JSON, whole};
use super::form::{self, FormFile, Posted};
use super::linked::{NAMELESS, not_allowed, when_done};
use super::{directory, file};
use crate::Gateway;

pub(super) async fn answer(
    State(gateway): State<Arc<Gateway>>,
    request: Request,
) -> Result<Response, Infallible> {
    either(dispatch(&gateway, request).await)
}

async fn dispatch(gateway: &Gateway, request: Request) -> Answer {
    let (parts, mut body) = request.into_parts();
    let mut args = Args::of_query(&parts.uri);
    match parts.method {
        Method::GET | Method::HEAD => go_to(&parts.uri, &args),
        Method::PUT => match args.t() {
            "" => {
                let format = args.format()?.unwrap_or(Format::Immutable);
                let child = file::make(gateway, gateway.client(), NAMELESS, &mut body, format).await?;
                Ok(text(child.cap().to_string()))
            }
            "mkdir" => make_directory(gateway, &args, "mkdir", body).await,
            _ => Err(Problem::bad("/uri only accepts PUT and PUT?t=mkdir")),
        },
        Method::POST => {
            let t = args.t().to_owned();
            if matches!(t.as_str(), "mkdir-with-children" | "mkdir-immutable") {
                return make_directory(gateway, &args, &t, body).await;
            }
            match form::posted(gateway, &parts.headers, &mut args, body).await? {
                Posted::File(file) if matches!(args.t(), "" | "upload") => upload(gateway, args, *file).await,
                Posted::Body(body) if args.t() == "mkdir" => {
                    make_directory(gateway, &args, "mkdir", body).await
                }
                Posted::Body(_) if matches!(args.t(), "" | "upload") => {
                    Err(Problem::bad("t=upload wants a form with a field named file"))
                }
                _ => Err(Problem::bad("/uri accepts only PUT, PUT?t=mkdir, POST?t=upload, and POST?t=mkdir")),
            }
        }
        _ => not_allowed(),
    }
}

/// `GET /uri?uri=CAP`: on to the cap's own place, with all other arguments.
fn go_to(uri: &axum::http::Uri, args: &Args) -> Answer {
    let given = args.get("uri").ok_or_else(|| Problem::bad("GET /uri requires uri="))?;
    let (cap, path) = given.split_once('/').map_or((given, None), |(cap, path)| (cap, Some(path)));
    let cap = args::cap(cap)?;
    let quoted = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let prefix = if uri.path().starts_with("/cap") { "/cap/" } else { "/uri/" };
    let mut to = format!("{prefix}{}", quoted(&cap.to_string()));
    for part in path.into_iter().flat_map(|path| path.split('/')) {
        to.push('/');
        to.push_str(&quoted(part));
    }
    let others = uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.starts_with("uri="));
    let others: Vec<&str> = others.collect();
    if !others.is_empty() {
        to.push('?');
        to.push_str(&others.join("&"));
    }
    redirect(StatusCode::FOUND, &to)
}

async fn make_directory(gateway: &Gateway, args: &Args, kind: &str, mut body: Body) -> Answer {
    if args.format()? == Some(Format::Immutable) {
        return Err(Problem::bad("format=CHK is not accepted for a directory"));
    }
    let child = if kind == "mkdir" {
        directory::unlinked(gateway, kind, None).await?
    } else {
        let (json, _held) = whole(gateway, &mut body, MAX_JSON).await?;
        directory::unlinked(gateway, kind, Some(&json)).await?
    };
    let cap = child.cap().to_string();
    if args.flag("redirect_to_result")? {
        let to = format!("/uri/{}", utf8_percent_encode(&cap, NON_ALPHANUMERIC));
        return redirect(StatusCode::SEE_OTHER, &to);
    }
    Ok(text(cap))
}

async fn upload(gateway: &Gateway, mut args: Args, mut file: FormFile) -> Answer {
    let format = args.format()?;
    let own = file.name.clone();
    let name = own.as_deref().unwrap_or(NAMELESS);
    let format_or = format.unwrap_or(Format::Immutable);
    let child = file::make(gateway, gateway.client(), name, &mut file, format_or).await?;
    file.rest(&mut args).await?;
    if args.format()? != format {
        return Err(Problem::bad("format= must come before the file"));
    }
    let cap = child.cap().to_string();
    if let Some(to) = args.get("when_done").filter(|to| !to.is_empty()) {
        let to = to.replace("%(uri)s", &utf8_percent_encode(&cap, NON_ALPHANUMERIC).to_string());
        let mut args = Args::default();
        args.add("when_done".into(), to);
        return when_done(&args, text(String::new()));
    }
    if format == Some(Format::Mutable) {
        return Ok(text(cap));
    }
    let link = utf8_percent_encode(&cap, NON_ALPHANUMERIC);
    Ok(page(format!(
        "<!DOCTYPE html><title>File Uploaded</title><h1>File Uploaded</h1>\n<p>URI: <tt>{0}</tt></p>\n\
         <p>Download link: <a href=\"/uri/{link}\">/uri/{0}</a></p>\n",
        escaped(&cap)
    )))
}
