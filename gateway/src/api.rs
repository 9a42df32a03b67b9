//! The gateway's own API, below `/api`.

use std::sync::Arc;

use axum::Router;

use crate::Gateway;

/// Its routes.
pub fn routes() -> Router<Arc<Gateway>> {
    Router::new()
}
