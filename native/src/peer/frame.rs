//! Frames on a connection between nodes: a length of 4 bytes, big endian, and so many bytes. An empty frame says only
//! that the sender lives. Never looks inside a frame.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

/// A reader that hears nothing for so long gives the connection up: the other side is gone without a word.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(20);
/// A writer that has nothing to say says so this often.
pub(super) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// Memory is taken as bytes arrive, at most so much ahead of them: a length alone costs its receiver nothing.
const READ_AHEAD_BYTES: usize = 64 * 1_024;

/// Why no frame could be read. The connection is of no use any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    /// The network.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// Nothing came.
    #[error("nothing was heard for {} s", SILENCE_MAX.as_secs())]
    Silence,
    /// More than any message may have.
    #[error("a frame of {length} bytes; at most {max} are accepted here")]
    TooLong {
        /// The length announced, in bytes.
        length: u32,
        /// The greatest, in bytes.
        max: u32,
    },
}

/// The next frame that is not empty, or nothing if the other side has closed the connection between two frames.
pub(super) async fn read(from: &mut (impl AsyncRead + Unpin), bytes_max: u32) -> Result<Option<Bytes>, FrameError> {
    loop {
        let length = match timeout(SILENCE_MAX, from.read_u32()).await.map_err(|_| FrameError::Silence)? {
            Ok(0) => continue,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if length > bytes_max {
            return Err(FrameError::TooLong { length, max: bytes_max });
        }
        return read_body(from, usize::try_from(length).expect("32 bits fit")).await.map(Some);
    }
}

async fn read_body(from: &mut (impl AsyncRead + Unpin), length: usize) -> Result<Bytes, FrameError> {
    let mut body = Vec::with_capacity(length.min(READ_AHEAD_BYTES));
    while body.len() < length {
        let missing = u64::try_from(length - body.len()).expect("a length fits 64 bits");
        let mut part = (&mut *from).take(missing);
        let count = timeout(SILENCE_MAX, part.read_buf(&mut body)).await.map_err(|_| FrameError::Silence)??;
        if count == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
    Ok(body.into())
}

/// Writes one frame; the caller flushes.
///
/// # Panics
/// When the frame is longer than 4 GiB, which no limit of a connection allows.
pub(super) async fn write(to: &mut (impl AsyncWrite + Unpin), frame: &[u8]) -> io::Result<()> {
    let length = u32::try_from(frame.len()).expect("frames are checked against their limit before");
    to.write_u32(length).await?;
    to.write_all(frame).await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_all(bytes: &[u8]) -> Vec<Result<Option<Bytes>, String>> {
        let (mut from, mut results) = (bytes, Vec::new());
        loop {
            let result = read(&mut from, 1_000).await.map_err(|error| error.to_string());
            let more = matches!(result, Ok(Some(_)));
            results.push(result);
            if !more {
                return results;
            }
        }
    }

    #[tokio::test]
    async fn frames_come_back_in_order_and_empty_ones_are_passed_over() {
        let mut bytes = Vec::new();
        for frame in [&b"one"[..], b"", b"", b"two"] {
            write(&mut bytes, frame).await.expect("memory does not fail");
        }
        let frames = read_all(&bytes).await;
        assert_eq!(frames, [Ok(Some("one".into())), Ok(Some("two".into())), Ok(None)]);
    }

    #[tokio::test]
    async fn a_cut_or_overlong_frame_is_an_error() {
        let cut = read_all(&[0, 0, 0, 5, 1, 2]).await;
        assert!(cut[0].as_ref().is_err_and(|error| error.contains("broke")), "{cut:?}");
        let long = read_all(&[0, 0, 3, 233]).await;
        assert!(long[0].as_ref().is_err_and(|error| error.contains("1001 bytes; at most 1000")), "{long:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_a_connection_between_frames_and_inside_one() {
        for heard in [&[][..], &[0, 0, 0, 5, 1]] {
            let (mut near, far) = tokio::io::duplex(64);
            near.write_all(heard).await.expect("fits");
            let (mut far, _near) = (far, near);
            assert!(matches!(read(&mut far, 1_000).await, Err(FrameError::Silence)));
        }
    }
}
