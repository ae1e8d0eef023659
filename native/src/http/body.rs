//! Bodies of requests, within bounds of size, time and memory. What is too large is read on for a while and thrown away, so
//! that the client sees the answer and not a broken connection.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::error::ApiError;

/// How much of a body that is too large is read and thrown away, in bytes.
const DRAIN_BYTES_MAX: u64 = 8 * 1_024 * 1_024;
/// How long a body may take altogether.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of all bodies that are held at one time; the next one is refused as too much.
const HELD_BYTES_MAX: usize = 512 * 1_024 * 1_024;

/// Room for bodies, shared by all requests.
#[derive(Clone, Debug)]
pub(crate) struct BodyRoom(Arc<Semaphore>);

/// A body that was read, and its room until this is dropped.
#[derive(Debug)]
pub(crate) struct HeldBody {
    pub(crate) bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl BodyRoom {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(HELD_BYTES_MAX)))
    }

    /// Reads a body of at most `bytes_max`; the error names `value_bytes_max`, which is what a client chooses.
    pub(crate) async fn read(
        &self,
        mut body: Body,
        bytes_max: usize,
        value_bytes_max: usize,
    ) -> Result<HeldBody, ApiError> {
        let deadline = Instant::now() + BODY_TIMEOUT;
        let announced = body.size_hint().upper().map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        if announced.is_some_and(|bytes| bytes > bytes_max) {
            drain(body, deadline).await;
            return Err(ApiError::too_large(value_bytes_max));
        }
        let needed = u32::try_from(announced.unwrap_or(bytes_max)).expect("limits are far below 4 GiB");
        let Ok(room) = self.0.clone().try_acquire_many_owned(needed) else {
            drain(body, deadline).await;
            return Err(ApiError::overloaded());
        };
        let mut held = BytesMut::with_capacity(announced.unwrap_or(0));
        loop {
            let frame = timeout_at(deadline, body.frame()).await.map_err(|_| ApiError::slow_body())?;
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|error| ApiError::invalid(format!("the body broke off: {error}")))?;
            // Trailers say nothing here.
            let Ok(data) = frame.into_data() else { continue };
            if held.len() + data.len() > bytes_max {
                drop(held);
                drain(body, deadline).await;
                return Err(ApiError::too_large(value_bytes_max));
            }
            held.extend_from_slice(&data);
        }
        Ok(HeldBody { bytes: held.freeze(), _room: room })
    }
}

/// Reads on until the end, the limit or the deadline, and keeps nothing.
async fn drain(mut body: Body, deadline: Instant) {
    let mut left = DRAIN_BYTES_MAX;
    while let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await {
        let size = frame.data_ref().map_or(0, Bytes::len);
        left = left.saturating_sub(u64::try_from(size).unwrap_or(u64::MAX));
        if left == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::IntoResponse as _;
    use futures_util::stream;
    use hyper::StatusCode;
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A body of so many pieces of 64 KiB without a length in front, and how many were taken.
    fn pieces(count: usize) -> (Body, Arc<AtomicUsize>) {
        let taken = Arc::new(AtomicUsize::new(0));
        let counted = taken.clone();
        let items = (0..count).map(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            Ok::<_, Infallible>(Bytes::from_static(&[7; 65_536]))
        });
        (Body::from_stream(stream::iter(items)), taken)
    }

    async fn status(room: &BodyRoom, body: Body, bytes_max: usize) -> StatusCode {
        match room.read(body, bytes_max, bytes_max).await {
            Ok(_) => StatusCode::OK,
            Err(error) => error.into_response().status(),
        }
    }

    #[tokio::test]
    async fn a_body_up_to_the_limit_is_read_whole() {
        let room = BodyRoom::new();
        assert_eq!(room.read(Body::from("12345"), 5, 5).await.expect("fits").bytes, "12345");
        assert_eq!(room.read(pieces(3).0, 3 * 65_536, 1).await.expect("fits").bytes.len(), 3 * 65_536);
        assert_eq!(status(&room, Body::from("123456"), 5).await, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(status(&room, pieces(4).0, 3 * 65_536).await, StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[tokio::test]
    async fn what_is_too_large_is_drained_up_to_the_limit_and_not_for_ever() {
        let room = BodyRoom::new();
        for (count, taken_max) in [(32, 32), (100_000, 140)] {
            let (body, taken) = pieces(count);
            assert_eq!(status(&room, body, 65_536).await, StatusCode::PAYLOAD_TOO_LARGE);
            let taken = taken.load(Ordering::SeqCst);
            assert!((taken_max - 12..=taken_max).contains(&taken), "{taken} of {count}");
        }
    }

    #[tokio::test]
    async fn room_is_given_back_and_too_much_at_once_is_refused() {
        let room = BodyRoom(Arc::new(Semaphore::new(10)));
        let held = room.read(Body::from("123456"), 10, 10).await.expect("fits");
        assert_eq!(status(&room, Body::from("12345"), 10).await, StatusCode::TOO_MANY_REQUESTS);
        drop(held);
        assert_eq!(status(&room, Body::from("12345"), 10).await, StatusCode::OK);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_given_up() {
        let room = BodyRoom::new();
        let silent = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        assert_eq!(status(&room, silent, 100).await, StatusCode::REQUEST_TIMEOUT);
    }
}
