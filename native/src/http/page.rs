//! The files of the web page over HTTP: the document, and what it loads. They never change while the process runs, so a
//! browser that has one is only told that it still does.

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use hyper::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderValue,
    IF_NONE_MATCH, VARY,
};
use hyper::{HeaderMap, Method, StatusCode};

use super::error::ApiError;
use crate::page::{self, Asset};

/// The name of the document.
const DOCUMENT: &str = "index.html";

/// The dashboard and the playground are one document; it looks at its own address.
pub(crate) async fn document(request: Request) -> Response {
    match page::file(DOCUMENT) {
        Some(asset) => respond(asset, request.headers()),
        None => ApiError::not_found("this binary carries no page").into_response(),
    }
}

/// A file that the document loads, if there is one at this path.
pub(crate) fn file(method: &Method, path: &str, headers: &HeaderMap) -> Option<Response> {
    let asset = page::file(path.strip_prefix('/')?)?;
    let reads = *method == Method::GET || *method == Method::HEAD;
    Some(if reads { respond(asset, headers) } else { ApiError::method_not_allowed(method, path).into_response() })
}

fn respond(asset: &'static Asset, asked: &HeaderMap) -> Response {
    let list =
        |name| asked.get_all(name).iter().filter_map(|value| value.to_str().ok()).flat_map(|list| list.split(','));
    let known = list(IF_NONE_MATCH).any(|tag| tag.trim() == asset.etag || tag.trim() == "*");
    let takes_brotli = list(ACCEPT_ENCODING).any(|offered| {
        let (name, weight) = offered.split_once(';').unwrap_or((offered, ""));
        name.trim() == "br" && !matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
    });
    let (bytes, encoding) = match asset.brotli {
        Some(brotli) if takes_brotli => (brotli, Some("br")),
        _ => (asset.raw, None),
    };
    let mut response = Response::new(if known { Body::empty() } else { Body::from(bytes) });
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    headers.insert(ETAG, HeaderValue::from_static(asset.etag));
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    // Asked for again each time, answered with "not modified": a new binary is a new page at once.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    if let Some(encoding) = encoding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    if asset.path == DOCUMENT {
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(page::CONTENT_SECURITY_POLICY));
    }
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str, headers: &[(hyper::header::HeaderName, &str)]) -> Option<Response> {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().expect("good"))).collect();
        file(&Method::GET, path, &headers)
    }

    #[test]
    fn a_file_comes_in_the_encoding_asked_for_and_only_once() {
        let asset = page::file(DOCUMENT).expect("every build has a document");
        let plain = get("/index.html", &[]).expect("there");
        assert_eq!(plain.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
        assert_eq!(plain.headers()[VARY], "Accept-Encoding");
        assert!(plain.headers().contains_key(CONTENT_SECURITY_POLICY));
        assert!(!plain.headers().contains_key(CONTENT_ENCODING));
        for (offered, taken) in [("gzip, br", true), ("br;q=0.5", true), ("br;q=0, gzip", false), ("gzip", false)] {
            let encoded = get("/index.html", &[(ACCEPT_ENCODING, offered)]).expect("there");
            let is_brotli = encoded.headers().contains_key(CONTENT_ENCODING);
            assert_eq!(is_brotli, taken && asset.brotli.is_some(), "{offered}");
        }
        let again = get("/index.html", &[(IF_NONE_MATCH, asset.etag)]).expect("there");
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    }

    #[test]
    fn what_is_no_file_is_not_found_and_files_are_only_read() {
        for path in ["/nothing", "//index.html", "/../index.html", ""] {
            assert!(get(path, &[]).is_none(), "{path:?}");
        }
        let put = file(&Method::PUT, "/index.html", &HeaderMap::new()).expect("there");
        assert_eq!(put.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
}
