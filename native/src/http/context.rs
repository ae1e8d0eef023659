//! The header that carries a causal context. Never looks inside the token.

use hyper::HeaderMap;
use hyper::header::HeaderValue;

use super::error::ApiError;

/// Its name, as HTTP libraries want it.
const HEADER: &str = "x-quorate-context";

/// Puts the context into a response.
pub(crate) fn insert(headers: &mut HeaderMap, context: &str) {
    if let Ok(value) = HeaderValue::from_str(context) {
        headers.insert(HEADER, value);
    }
}

/// The context of a request, if it has one.
pub(crate) fn find(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    match headers.get(HEADER) {
        None => Ok(None),
        Some(value) => match value.to_str() {
            Ok(context) => Ok(Some(context.trim().to_owned())),
            Err(_) => Err(ApiError::invalid("the header X-Quorate-Context holds what no context has")),
        },
    }
}

/// The context that a request names in its header, in its body, or in both alike.
pub(crate) fn agreed(header: Option<String>, body: Option<String>) -> Result<Option<String>, ApiError> {
    match (header, body) {
        (Some(header), Some(body)) if header != body => {
            Err(ApiError::invalid("the context in the header and the one in the body differ: send one of them"))
        }
        (header, body) => Ok(header.or(body)),
    }
}
