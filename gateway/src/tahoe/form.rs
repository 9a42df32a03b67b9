//! Forms: fields that are arguments, and one that is a file.

mod sips;

use axum::body::Body;
use axum::http::header;
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use std::io;

use super::answer::Problem;
use super::args::Args;
use super::body::{Chunks, whole};
use crate::Gateway;
use crate::incoming::is_of_type;
use sips::{Sips, Thirst};

/// Fields of one form.
const MAX_FIELDS: usize = 64;
/// Bytes of a field that is no file.
const MAX_FIELD: usize = 64 * 1024;
/// Bytes of a form without a file.
const MAX_FORM: usize = 1 << 20;
/// Bytes of a boundary; RFC 2046 allows 70.
const MAX_BOUNDARY: usize = 256;

/// What came with a POST.
pub(super) enum Posted {
    /// No form, or one whose fields are all known by now.
    Body(Body),
    /// A form that has come to its file.
    File(Box<FormFile>),
}

/// The file of a form.
pub(super) struct FormFile {
    /// The name that it has where it comes from.
    pub(super) name: Option<String>,
    field: Option<multer::Field<'static>>,
    form: Form,
}

/// A form on its way.
struct Form {
    parts: multer::Multipart<'static>,
    thirst: Thirst,
}

impl Form {
    async fn next_field(&mut self) -> Result<Option<multer::Field<'static>>, Problem> {
        self.thirst.renew();
        self.parts.next_field().await.map_err(|_| self.broken())
    }

    /// What is wrong with it.
    fn broken(&self) -> Problem {
        match self.thirst.is_quenched() {
            true => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the head of a part of the form is too long"),
            false => Problem::bad("the form ended early, or is none"),
        }
    }
}

/// Reads a form as far as its file, and puts its fields to the arguments.
pub(super) async fn posted(
    gateway: &Gateway,
    headers: &HeaderMap,
    args: &mut Args,
    mut body: Body,
) -> Result<Posted, Problem> {
    if is_of_type(headers, "application/x-www-form-urlencoded") {
        let (bytes, _) = whole(gateway, &mut body, MAX_FORM).await?;
        args.add_form(&String::from_utf8_lossy(&bytes));
        return Ok(Posted::Body(Body::empty()));
    }
    if !is_of_type(headers, "multipart/form-data") {
        return Ok(Posted::Body(body));
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let boundary = multer::parse_boundary(kind).map_err(|_| Problem::bad("the form has no boundary"))?;
    if boundary.len() > MAX_BOUNDARY {
        return Err(Problem::bad("the form's boundary is too long"));
    }
    let (sips, thirst) = Sips::of(body);
    let parts = multer::Multipart::new(Body::new(sips).into_data_stream(), boundary);
    let mut form = Form { parts, thirst };
    match fields(&mut form, args).await? {
        Some(field) => {
            let name = field.file_name().map(str::to_owned);
            Ok(Posted::File(Box::new(FormFile { name, field: Some(field), form })))
        }
        None => Ok(Posted::Body(Body::empty())),
    }
}

/// Reads fields up to the file, or all of them.
async fn fields(form: &mut Form, args: &mut Args) -> Result<Option<multer::Field<'static>>, Problem> {
    while let Some(mut field) = form.next_field().await? {
        let name = field.name().unwrap_or_default().to_owned();
        if name == "file" {
            return Ok(Some(field));
        }
        if args.len() >= MAX_FIELDS {
            return Err(Problem::bad("the form has too many fields"));
        }
        let mut value = Vec::new();
        while let Some(piece) = sip(&form.thirst, &mut field).await.map_err(|_| form.broken())? {
            if value.len() + piece.len() > MAX_FIELD {
                return Err(Problem::bad("a field of the form is too long"));
            }
            value.extend_from_slice(&piece);
        }
        args.add(name, String::from_utf8_lossy(&value).into_owned());
    }
    Ok(None)
}

impl FormFile {
    /// Reads what follows the file: fields that say under which name to link it.
    pub(super) async fn rest(mut self, args: &mut Args) -> Result<(), Problem> {
        self.field = None;
        match fields(&mut self.form, args).await? {
            Some(_) => Err(Problem::bad("the form has two files")),
            None => Ok(()),
        }
    }
}

impl Chunks for FormFile {
    async fn chunk(&mut self) -> io::Result<Option<Bytes>> {
        let Some(field) = &mut self.field else { return Ok(None) };
        loop {
            match sip(&self.form.thirst, field).await.map_err(io::Error::other)? {
                Some(piece) if piece.is_empty() => {}
                piece => return Ok(piece),
            }
        }
    }

    fn len(&self) -> Option<u64> {
        None
    }
}

async fn sip(thirst: &Thirst, field: &mut multer::Field<'static>) -> multer::Result<Option<Bytes>> {
    thirst.renew();
    field.chunk().await
}
