//! Connections and their bounds.

use std::future::Future;
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::{Gateway, router};

/// Serves until `stop` is done.
///
/// # Errors
///
/// The listener fails.
pub async fn serve(
    listener: TcpListener,
    gateway: Arc<Gateway>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, router(gateway)).with_graceful_shutdown(stop).await
}
