//! Frames on a connection between members: a length of four bytes (little-endian), then one of the codec's frames.
//!
//! A length is believed only up to the limit of the connection's state, a small one before the other side is known, and
//! beyond some kilobytes memory is taken as bytes arrive, not as they are announced.

use crate::codec::{self, CodecError};
use crate::raft::transport::{PeerReply, PeerRequest, TransportError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// What is asked of the system at a time: most messages come in one piece. Memory beyond that is taken as it arrives.
pub(super) const READ_BYTES: usize = 64 << 10;

/// A connection, with or without TLS.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

pub(super) type Stream = Box<dyn Wire>;

/// What the side that dialled sends after the handshake.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToAcceptor {
    /// Wants a reply of this number.
    Request { id: u64, request: Box<PeerRequest> },
    /// Wants a pong at once, whatever else is in hand: is somebody there?
    Ping,
}

/// What the side that accepted sends after the handshake.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToDialler {
    Reply { id: u64, reply: Box<Result<PeerReply, Failure>> },
    Pong,
}

/// Why there is no reply; a [`TransportError`] without the peer's number.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Failure {
    /// The request had no effect.
    Unreachable(String),
    /// It may have had one.
    Failed(String),
}

impl From<TransportError> for Failure {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::Unreachable { reason, .. } => Self::Unreachable(reason),
            TransportError::TimedOut { time_limit, .. } => {
                Self::Failed(format!("no answer within {time_limit:?}"))
            }
            TransportError::Failed { reason, .. } => Self::Failed(reason),
        }
    }
}

/// A connection broke, or the other side does not keep to the protocol; both end it.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("the connection broke: {0}")]
    Io(#[from] std::io::Error),
    #[error("the other side closed the connection")]
    Closed,
    #[error("a message of {bytes} bytes is longer than {bytes_max}")]
    TooLong { bytes: u64, bytes_max: u32 },
    #[error("a message cannot be read: {0}")]
    Codec(#[from] CodecError),
}

/// Encodes a message, unless it is longer than the other side would accept.
pub(super) fn encode<T: Serialize>(message: &T, bytes_max: u32) -> Result<Vec<u8>, WireError> {
    let frame = codec::encode(message)?;
    let bytes = frame.len() as u64;
    if bytes > u64::from(bytes_max) { Err(WireError::TooLong { bytes, bytes_max }) } else { Ok(frame) }
}

/// Writes what [`encode`] made.
pub(super) async fn write(writer: &mut (impl AsyncWrite + Unpin), frame: &[u8]) -> Result<(), WireError> {
    // Never longer than a limit of 32 bits.
    let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
    // In one piece: a length that travels alone wakes the other side for four bytes. To copy it costs less, even of a megabyte.
    writer.write_all(&[&length.to_le_bytes(), frame].concat()).await?;
    writer.flush().await?;
    Ok(())
}

/// Reads one message.
pub(super) async fn read<T: DeserializeOwned>(
    reader: &mut (impl AsyncRead + Unpin),
    bytes_max: u32,
) -> Result<T, WireError> {
    let mut length = [0; 4];
    reader.read_exact(&mut length).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => WireError::Closed,
        _ => WireError::Io(error),
    })?;
    let length = u32::from_le_bytes(length);
    if length > bytes_max {
        return Err(WireError::TooLong { bytes: u64::from(length), bytes_max });
    }
    let mut frame = Vec::with_capacity(usize::try_from(length).unwrap_or(READ_BYTES).min(READ_BYTES));
    reader.take(u64::from(length)).read_to_end(&mut frame).await?;
    if frame.len() as u64 != u64::from(length) {
        return Err(WireError::Closed);
    }
    Ok(codec::decode(&frame)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_comes_out_as_it_went_in() {
        for text in ["short".to_owned(), "long".repeat(5_000)] {
            let mut bytes = Vec::new();
            write(&mut bytes, &encode(&text, 1 << 20).unwrap()).await.unwrap();
            assert_eq!(read::<String>(&mut bytes.as_slice(), 1 << 20).await.unwrap(), text);
            let cut = bytes.len() - 1;
            assert!(matches!(read::<String>(&mut &bytes[..cut], 1 << 20).await, Err(WireError::Closed)));
        }
    }

    #[tokio::test]
    async fn a_length_beyond_the_limit_is_refused_on_both_sides() {
        assert!(matches!(encode(&vec![0_u8; 2000], 1000), Err(WireError::TooLong { bytes_max: 1000, .. })));
        let announced = 1001_u32.to_le_bytes();
        let read = read::<String>(&mut announced.as_slice(), 1000).await;
        assert!(matches!(read, Err(WireError::TooLong { bytes: 1001, bytes_max: 1000 })));
    }

    #[tokio::test]
    async fn damage_is_an_error_and_no_message() {
        let mut bytes = Vec::new();
        write(&mut bytes, &encode(&"a heartbeat".to_owned(), 1000).unwrap()).await.unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        assert!(matches!(read::<String>(&mut bytes.as_slice(), 1000).await, Err(WireError::Codec(_))));
    }
}
