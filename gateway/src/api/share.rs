//! What there is to pass on of a file or directory, and what each of it grants.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use caps::{Authority, Cap};
use qrcode::render::svg;
use qrcode::{EcLevel, QrCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::asked::{Asked, At};
use super::problem::Problem;
use crate::Gateway;

/// The longest text of a QR code, in bytes: what the largest holds.
const QR_MAX: usize = 2953;

/// The capabilities that follow from one, the one that reads first.
pub(super) async fn share(
    State(gateway): State<Arc<Gateway>>,
    Asked(asked): Asked<At>,
) -> Result<Json<Value>, Problem> {
    let place = asked.place.read(&gateway)?;
    let cap = place.resolve().await?.cap;
    let repair = match &cap {
        Cap::Unknown(_) => None,
        cap => place.client.repair_cap(cap).await?.filter(|cap| cap.authority() == Authority::Repair),
    };
    let writes = (cap.authority() == Authority::Write).then(|| cap.clone());
    let kinds = [("read", cap.read()), ("write", writes), ("verify", cap.verify()), ("repair", repair)];
    let caps = kinds.into_iter().filter_map(|(kind, weaker)| {
        let weaker = weaker?;
        Some(json!({
            "kind": kind, "cap": weaker.to_string(), "grants": grants(kind, &cap), "writes": kind == "write",
        }))
    });
    Ok(Json(json!({ "caps": caps.collect::<Vec<_>>() })))
}

/// What a capability lets its holder do, in one sentence.
fn grants(kind: &str, of: &Cap) -> &'static str {
    match (kind, of.is_directory(), of.is_mutable()) {
        ("read", true, true) => {
            "Reads this folder and all below it, now and as it will be, and changes nothing."
        }
        ("read", true, false) => "Reads this folder and all below it, which never change.",
        ("read", false, true) => "Reads this file, now and as it will be, and changes nothing.",
        ("read", false, false) => "Reads this file, which never changes.",
        ("write", true, _) => {
            "Changes and reads this folder and all below it that may change: whoever has it can delete everything."
        }
        ("write", false, _) => "Changes and reads this file: whoever has it can replace its content.",
        ("repair", ..) => "Checks and repairs this and all below it, and reads none of it.",
        _ => "Checks and repairs this alone, without reading it.",
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Text {
    text: String,
}

/// A text as a QR code.
pub(super) async fn qr(Asked(asked): Asked<Text>) -> Result<Response, Problem> {
    let too_long = || {
        let detail = format!("a QR code holds at most {QR_MAX} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
    };
    if asked.text.len() > QR_MAX {
        return Err(too_long());
    }
    let code = QrCode::with_error_correction_level(&asked.text, EcLevel::M)
        .or_else(|_| QrCode::with_error_correction_level(&asked.text, EcLevel::L))
        .map_err(|_| too_long())?;
    let picture = code.render::<svg::Color>().min_dimensions(256, 256).quiet_zone(true).build();
    let mut response = picture.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("image/svg+xml"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
