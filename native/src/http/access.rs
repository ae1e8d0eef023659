//! The gate that every request passes: whether the node still takes any, from where it comes, and what it may do. Never
//! looks further into a request than its headers.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, HeaderValue,
    ORIGIN, VARY,
};
use hyper::{HeaderMap, Method, StatusCode};

use super::error::ApiError;
use super::origin::Sender;
use super::{App, UnderWay};
use crate::tokens::{Role, Tokens};

/// What a request needs to be let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

impl Access {
    /// The role that is needed where tokens are asked for; none where nobody needs one.
    pub(crate) const fn role(self) -> Option<Role> {
        match self {
            Self::Anyone | Self::Public => None,
            Self::Read => Some(Role::Read),
            Self::Write => Some(Role::Write),
            Self::Admin => Some(Role::Admin),
        }
    }
}

/// A gate in front of one operation.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) app: Arc<App>,
    pub(crate) access: Access,
    /// The path of the route, for counting.
    pub(crate) path: &'static str,
}

/// Refuses what may not come in, and counts the rest.
pub(crate) async fn admit(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let response = pass(&gate, request, next).await;
    gate.app.metrics.answered(method.as_str(), gate.path, response.status().as_u16());
    response
}

async fn pass(gate: &Gate, request: Request, next: Next) -> Response {
    let Gate { app, access, .. } = gate;
    if *access == Access::Anyone {
        return next.run(request).await;
    }
    if app.is_stopping() {
        return ApiError::shutting_down().into_response();
    }
    let origin = request.headers().get(ORIGIN).cloned();
    let _under_way = UnderWay::begin(app);
    let sender = match app.known_sender(request.headers()).await {
        Ok(sender) => sender,
        Err(error) => return error.into_response(),
    };
    let mut response = match app.check_access(*access, sender, request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    share(response.headers_mut(), origin);
    response
}

impl App {
    async fn known_sender(&self, headers: &HeaderMap) -> Result<Sender, ApiError> {
        // Where tokens are asked for any name will do: a page that came by a trick has none.
        if self.trust.tokens.is_none() {
            self.check_host(headers).await?;
        }
        self.sender(headers).await
    }

    fn check_access(&self, access: Access, sender: Sender, headers: &HeaderMap) -> Result<(), ApiError> {
        let Some(needed) = access.role() else { return Ok(()) };
        let role = self.trust.tokens.as_deref().map(|tokens| shown_role(tokens, headers)).transpose()?;
        if let Some(role) = role.filter(|role| *role < needed) {
            return Err(ApiError::forbidden(format!(
                "this needs a token with the role {needed}, and yours has the role {role}"
            )));
        }
        let may_write = self.settings.dashboard_write || role == Some(Role::Admin);
        if sender == Sender::MemberPage && needed > Role::Read && !may_write {
            return Err(ApiError::forbidden(
                "pages may read from this node, not write to it: start it with --dashboard-write, or send a token with the \
                 role admin",
            ));
        }
        Ok(())
    }
}

/// The role of the token that a request shows.
fn shown_role(tokens: &Tokens, headers: &HeaderMap) -> Result<Role, ApiError> {
    let how = "send the header Authorization: Bearer TOKEN (quorate: --token or QUORATE_TOKEN)";
    let Some(shown) = headers.get(AUTHORIZATION) else {
        return Err(ApiError::unauthenticated(format!("this node wants a token: {how}")));
    };
    let (scheme, token) = shown.to_str().ok().and_then(|text| text.split_once(' ')).unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(ApiError::unauthenticated(format!("the header Authorization is not understood: {how}")));
    }
    let role = tokens.role(token.trim());
    role.ok_or_else(|| ApiError::unauthenticated("this node does not know the token: ask its operator for one"))
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
