//! The web page, served from the binary.

use std::sync::Arc;

use axum::Router;

use crate::Gateway;

/// Its routes.
pub fn routes() -> Router<Arc<Gateway>> {
    Router::new()
}
