//! A connection after its hello, as a client sees it.

use std::sync::Arc;
use std::time::Duration;

use minicbor::Decode;

use crate::frame::{self, FrameError};
use crate::membership::SignedCertificate;
use crate::message::{ErrorCode, Hello, MAJOR, MINOR, Reply, Request, WireError};
use crate::transport::{Connection, Stream, TransportError};

/// Program and version, as hellos and announcements state it.
pub const SOFTWARE: &str = concat!("sarsen/", env!("CARGO_PKG_VERSION"));

/// Why a request got no good answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The connection failed.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The answer could not be read.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The other side refused.
    #[error(transparent)]
    Refused(#[from] WireError),
    /// The other side speaks another major version.
    #[error("it speaks version {major} of the protocol, we speak {MAJOR}")]
    Version {
        /// Its major version.
        major: u16,
    },
    /// No answer in time.
    #[error("no answer within {} s", after.as_millis() as f64 / 1e3)]
    Timeout {
        /// How long was waited.
        after: Duration,
    },
    /// The answer was complete but makes no sense.
    #[error("senseless answer: {what}")]
    Nonsense {
        /// What about it.
        what: &'static str,
    },
}

/// A connection whose other side said hello.
#[derive(Clone)]
pub struct Session {
    connection: Arc<dyn Connection>,
    /// What the other side said of itself.
    pub hello: Hello,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("hello", &self.hello).finish_non_exhaustive()
    }
}

/// What this program says of itself.
pub fn our_hello() -> Hello {
    Hello {
        major: MAJOR,
        minor: MINOR,
        features: Vec::new(),
        software: SOFTWARE.to_owned(),
        certificate: None,
    }
}

impl Session {
    /// Says hello on a new connection.
    ///
    /// # Errors
    ///
    /// [`RequestError`]; [`RequestError::Version`] if the major versions differ.
    pub async fn start(connection: Box<dyn Connection>) -> Result<Self, RequestError> {
        Self::start_as(connection, None).await
    }

    /// Says hello on a new connection, and shows the certificate of the key that made it, where there is one.
    ///
    /// # Errors
    ///
    /// As of [`Session::start`].
    pub async fn start_as(
        connection: Box<dyn Connection>,
        certificate: Option<SignedCertificate>,
    ) -> Result<Self, RequestError> {
        let connection: Arc<dyn Connection> = connection.into();
        let mut stream = connection.open().await?;
        let hello = Hello { certificate, ..our_hello() };
        frame::send(&mut *stream.send, &Request::Hello(hello)).await?;
        stream.send.finish()?;
        let hello: Hello = match frame::receive(&mut *stream.recv).await? {
            Reply::Ok(hello) => hello,
            Reply::Err(WireError { code: ErrorCode::UnsupportedVersion, message }) => {
                return Err(WireError { code: ErrorCode::UnsupportedVersion, message }.into());
            }
            Reply::Err(error) => return Err(error.into()),
        };
        if hello.major != MAJOR {
            return Err(RequestError::Version { major: hello.major });
        }
        Ok(Self { connection, hello })
    }

    /// The connection.
    pub fn connection(&self) -> &dyn Connection {
        &*self.connection
    }

    /// Opens a stream and sends a request on it; the caller sends what follows, finishes and reads.
    ///
    /// # Errors
    ///
    /// [`RequestError::Transport`].
    pub async fn open(&self, request: &Request) -> Result<Stream, RequestError> {
        let mut stream = self.connection.open().await?;
        frame::send(&mut *stream.send, request).await?;
        Ok(stream)
    }

    /// Sends a request that nothing follows and reads the first message of the answer; the rest is on the stream.
    ///
    /// # Errors
    ///
    /// [`RequestError`].
    pub async fn request<T: for<'b> Decode<'b, ()>>(
        &self,
        request: &Request,
    ) -> Result<(T, Stream), RequestError> {
        let mut stream = self.open(request).await?;
        stream.send.finish()?;
        let answer = read_reply(&mut stream).await?;
        Ok((answer, stream))
    }
}

/// Reads one answer off a stream.
///
/// # Errors
///
/// [`RequestError`].
pub async fn read_reply<T: for<'b> Decode<'b, ()>>(stream: &mut Stream) -> Result<T, RequestError> {
    match frame::receive(&mut *stream.recv).await? {
        Reply::Ok(answer) => Ok(answer),
        Reply::Err(error) => Err(error.into()),
    }
}
