//! The web page inside the binary: what each file of it is called, is made of and is sent as.
//!
//! The files are embedded when the binary is built (`build.rs`). This module never reads a disk and knows nothing of
//! HTTP beyond the header values that belong to a file.

/// One file of the page.
#[derive(Debug)]
pub struct Asset {
    /// Path below the root of the page, without a leading slash: `index.html`, `snippets/a/b.js`.
    pub path: &'static str,
    /// Value of the `Content-Type` header.
    pub content_type: &'static str,
    /// Value of the `ETag` header, with its quotes. It is a weak one (RFC 9110, section 8.8.1), because it stands for
    /// the content in either encoding; the response must say `Vary: Accept-Encoding`.
    pub etag: &'static str,
    /// The bytes as they are, for clients that do not accept Brotli: browsers ask for it only over TLS or from this
    /// machine.
    pub raw: &'static [u8],
    /// The bytes compressed with Brotli (RFC 7932); none where that saves nothing.
    pub brotli: Option<&'static [u8]>,
}

/// Value of the `Content-Security-Policy` header that `index.html` is served with: everything comes from this
/// server, no script stands inside the document, and nobody frames it.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; \
    worker-src 'self'; connect-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Every file, sorted by path.
const ASSETS: &[Asset] = include!(concat!(env!("OUT_DIR"), "/page_assets.rs"));

/// The file at `path` (relative to the root of the page, without a leading slash), if the page has it.
///
/// The document itself is `index.html`; which addresses lead to it is the server's business.
pub fn file(path: &str) -> Option<&'static Asset> {
    let index = ASSETS.binary_search_by(|asset| asset.path.cmp(path)).ok()?;
    Some(&ASSETS[index])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_build_has_a_document() {
        let document = file("index.html").expect("index.html is embedded");
        assert_eq!(document.content_type, "text/html; charset=utf-8");
        assert!(document.raw.starts_with(b"<!doctype html>"));
    }

    #[test]
    fn every_file_is_found_by_its_path_and_nothing_else_is() {
        for asset in ASSETS {
            let found = file(asset.path).expect("an embedded file");
            assert_eq!(found.etag, asset.etag, "{}", asset.path);
        }
        for path in ["", "/", "/index.html", "index", "../dist/index.html", "index.html/"] {
            assert!(file(path).is_none(), "{path:?}");
        }
    }

    #[test]
    fn both_encodings_hold_the_same_bytes() {
        for asset in ASSETS {
            let Some(mut compressed) = asset.brotli else { continue };
            let mut bytes = Vec::new();
            brotli::BrotliDecompress(&mut compressed, &mut bytes).expect("valid Brotli");
            assert!(bytes == asset.raw, "{} differs after decompression", asset.path);
            assert!(asset.brotli.is_some_and(|brotli| brotli.len() < asset.raw.len()), "{}", asset.path);
        }
    }

    #[test]
    fn tags_tell_files_apart() {
        for asset in ASSETS {
            let unquoted = asset.etag.strip_prefix("W/\"").and_then(|tag| tag.strip_suffix('"')).expect("quotes");
            assert!(unquoted.len() == 32 && unquoted.bytes().all(|byte| byte.is_ascii_hexdigit()));
            let same = ASSETS.iter().filter(|other| other.etag == asset.etag);
            assert!(same.into_iter().all(|other| other.raw == asset.raw), "{}", asset.path);
        }
    }
}
