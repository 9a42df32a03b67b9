//! Who is let in, and which headers every answer has.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::Gateway;

/// Lets a request in or refuses it.
pub async fn admit(State(_gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    next.run(request).await
}
