//! The gate that every request passes: whether the node still takes any, from where it comes, and what it may do. Never
//! looks further into a request than its headers.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HeaderValue, ORIGIN, VARY,
};
use hyper::{HeaderMap, Method, StatusCode};

use super::error::ApiError;
use super::origin::Sender;
use super::{App, UnderWay};

/// What a request needs to be let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Access {
    /// Nothing, also while the node stops: it tells nothing that is not for everybody, or asks for proof itself.
    Anyone,
    /// Nothing: the page, and what describes this interface.
    Public,
    /// To read.
    Read,
    /// To write.
    Write,
    /// To change who belongs to the cluster, and who owns what.
    Admin,
}

/// A gate in front of one operation.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) app: Arc<App>,
    pub(crate) access: Access,
}

/// Refuses what may not come in, and counts the rest.
pub(crate) async fn admit(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let Gate { app, access } = gate;
    if access == Access::Anyone {
        return next.run(request).await;
    }
    if app.is_stopping() {
        return ApiError::shutting_down().into_response();
    }
    let origin = request.headers().get(ORIGIN).cloned();
    let _under_way = UnderWay::begin(&app);
    let sender = match app.known_sender(request.headers()).await {
        Ok(sender) => sender,
        Err(error) => return error.into_response(),
    };
    let mut response = match app.check_access(access, sender) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    share(response.headers_mut(), origin);
    response
}

impl App {
    async fn known_sender(&self, headers: &HeaderMap) -> Result<Sender, ApiError> {
        self.check_host(headers).await?;
        self.sender(headers).await
    }

    fn check_access(&self, access: Access, sender: Sender) -> Result<(), ApiError> {
        if sender == Sender::MemberPage && access > Access::Read && !self.settings.dashboard_write {
            return Err(ApiError::forbidden(
                "pages may read from this node, not write to it: start it with --dashboard-write if they are meant to",
            ));
        }
        Ok(())
    }
}

/// Lets the browser hand the answer to the page that asked; there is none behind a request without an origin.
fn share(headers: &mut HeaderMap, origin: Option<HeaderValue>) {
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.append(VARY, HeaderValue::from_static("Origin"));
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("x-quorate-context"));
    }
}

/// What a browser asks before it sends a page's request: whether that may come at all. Nothing if the request is none such.
pub(crate) async fn preflight(app: &App, method: &Method, headers: &HeaderMap) -> Option<Response> {
    let origin = headers.get(ORIGIN)?.clone();
    if method != Method::OPTIONS || !headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
        return None;
    }
    let mut response = match app.known_sender(headers).await {
        Ok(_) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => return Some(error.into_response()),
    };
    let may = response.headers_mut();
    share(may, Some(origin));
    may.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, PUT, POST, DELETE"));
    let named = "accept, authorization, content-type, idempotency-key, x-quorate-context";
    may.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(named));
    may.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    Some(response)
}
