//! The door for other nodes: an HTTP request that asks to become a connection between nodes. Never reads a frame itself.

use axum::body::Body;
use axum::response::Response;
use hyper::header::{CONNECTION, UPGRADE};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;

use super::{Peers, Receive, handshake};

/// Answers a request to [`handshake::PATH`]: 101 and the connection is the peers' from then on, or nothing if the request
/// asks for something else. `permit` is held as long as the connection is open.
pub fn upgrade<R: Receive>(
    peers: &Peers<R>,
    request: &mut Request<Body>,
    permit: impl Send + 'static,
) -> Option<Response> {
    let asked = request.headers().get(UPGRADE).and_then(|value| value.to_str().ok());
    if !asked.is_some_and(|asked| asked.eq_ignore_ascii_case(handshake::UPGRADE)) {
        return None;
    }
    let (peers, upgraded) = (peers.clone(), hyper::upgrade::on(request));
    tokio::spawn(async move {
        if let Ok(stream) = upgraded.await {
            peers.serve(TokioIo::new(stream)).await;
        }
        drop(permit);
    });
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "upgrade")
        .header(UPGRADE, handshake::UPGRADE)
        .body(Body::empty());
    Some(response.expect("fixed headers are good ones"))
}
