//! Messages on a stream: four bytes of length, little-endian, then CBOR (RFC 8949).

use std::io;

use bytes::{Bytes, BytesMut};
use minicbor::{Decode, Encode};

use crate::limits::MAX_FRAME_LEN;
use crate::transport::{RecvHalf, SendHalf, TransportError};

/// Why no message could be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The stream ended before, or within, the message.
    #[error("the stream ended before the message did")]
    Ended,
    /// It is longer than [`MAX_FRAME_LEN`].
    #[error("a message of {len} bytes exceeds the bound of {max}", max = MAX_FRAME_LEN)]
    TooLong {
        /// Bytes stated.
        len: u32,
    },
    /// It is not the CBOR that was expected.
    #[error("the message cannot be read: {reason}")]
    Malformed {
        /// What the decoder says.
        reason: String,
    },
    /// It is of a kind that this version does not know: a request, an answer or an error added later.
    #[error("the message is of an unknown kind")]
    Unknown,
    /// The transport failed.
    #[error("the connection failed")]
    Io(#[from] io::Error),
}

/// A message as bytes, with its length in front.
///
/// # Panics
///
/// If it is longer than [`MAX_FRAME_LEN`]: senders keep to the bounds of [`crate::limits`].
pub fn encode<T: Encode<()>>(message: &T) -> Bytes {
    let mut out = vec![0; 4];
    minicbor::encode(message, &mut out).expect("writing to a Vec cannot fail");
    let len = u32::try_from(out.len() - 4).ok().filter(|len| *len <= MAX_FRAME_LEN);
    let len = len.expect("messages are bounded by their senders");
    out[..4].copy_from_slice(&len.to_le_bytes());
    out.into()
}

/// The message in `bytes`; nothing may follow it.
///
/// # Errors
///
/// [`FrameError::Malformed`], [`FrameError::Unknown`].
pub fn decode<T: for<'b> Decode<'b, ()>>(bytes: &[u8]) -> Result<T, FrameError> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let message = decoder.decode().map_err(|e| match e.is_unknown_variant() {
        true => FrameError::Unknown,
        false => FrameError::Malformed { reason: e.to_string() },
    })?;
    if decoder.position() != bytes.len() {
        return Err(FrameError::Malformed { reason: "bytes follow the message".into() });
    }
    Ok(message)
}

/// Sends a message.
///
/// # Errors
///
/// [`TransportError`].
pub async fn send<T: Encode<()> + Sync>(
    stream: &mut dyn SendHalf,
    message: &T,
) -> Result<(), TransportError> {
    stream.send(encode(message)).await
}

/// Reads a message.
///
/// # Errors
///
/// [`FrameError`].
pub async fn receive<T: for<'b> Decode<'b, ()>>(stream: &mut dyn RecvHalf) -> Result<T, FrameError> {
    let mut buffer = BytesMut::new();
    if !stream.fill(&mut buffer, 4).await? {
        return Err(FrameError::Ended);
    }
    let len = u32::from_le_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]);
    if len > MAX_FRAME_LEN {
        return Err(FrameError::TooLong { len });
    }
    buffer.clear();
    // Room grows with what arrives, not with what was stated.
    let mut have = 0;
    while have < len as usize {
        have = (have + 64 * 1024).min(len as usize);
        if !stream.fill(&mut buffer, have).await? {
            return Err(FrameError::Ended);
        }
    }
    decode(&buffer)
}
