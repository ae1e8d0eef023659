//! The parameters of a URL. Parameters that nobody knows are passed over, as HTTP servers do.

use std::time::Duration;

use hyper::Uri;
use percent_encoding::percent_decode_str;
use quorate_core::id::Key;
use quorate_core::shard::Quorum;

use super::error::ApiError;

/// The parameters of one request, decoded.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn of(uri: &Uri) -> Result<Self, ApiError> {
        let text = uri.query().unwrap_or_default();
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            // In a query, and only there, a plus sign is a space.
            Ok((decode(&name.replace('+', " "))?, decode(&value.replace('+', " "))?))
        });
        pairs.collect::<Result<_, ApiError>>().map(Self)
    }

    /// The value of a parameter; the last one if it is named several times.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(of, _)| of == name).map(|(_, value)| value.as_str())
    }

    /// The key that a parameter must name.
    pub(crate) fn key(&self, name: &str) -> Result<Key, ApiError> {
        match self.get(name) {
            Some(text) => Ok(Key::new(text)?),
            None => Err(ApiError::invalid(format!("the parameter {name} is missing: add ?{name}=KEY"))),
        }
    }

    /// A whole number, if the parameter is there.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, ApiError> {
        let parse = |text: &str| {
            text.parse().map_err(|_| ApiError::invalid(format!("{name} must be a whole number, not {text:?}")))
        };
        self.get(name).map(parse).transpose()
    }

    /// How many answers to wait for: 1 to the number of copies, or all.
    pub(crate) fn quorum(&self, name: &str, copies: u8) -> Result<Option<Quorum>, ApiError> {
        match self.get(name) {
            Some("all") => Ok(Some(Quorum::All)),
            _ => Ok(self.count(name, copies)?.map(Quorum::Count)),
        }
    }

    /// How many answers of owners to wait for: 1 to the number of copies, or all.
    pub(crate) fn primaries(&self, name: &str, copies: u8) -> Result<Option<u8>, ApiError> {
        match self.get(name) {
            Some("all") => Ok(Some(copies)),
            _ => self.count(name, copies),
        }
    }

    fn count(&self, name: &str, copies: u8) -> Result<Option<u8>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match text.parse() {
            Ok(count) if (1..=copies).contains(&count) => Ok(Some(count)),
            _ => Err(ApiError::invalid(format!(
                "{name} must be 1 to {copies}, the number of copies, or all; {text:?} is not"
            ))),
        }
    }

    /// Yes or no, if the parameter is there.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(text) => Err(ApiError::invalid(format!("{name} must be true or false; {text:?} is not"))),
        }
    }

    /// How long the request may take.
    pub(crate) fn timeout(&self) -> Result<Option<Duration>, ApiError> {
        Ok(self.number("timeout_ms")?.map(Duration::from_millis))
    }
}

/// The key at the end of a path.
pub(crate) fn key_in_path(uri: &Uri, prefix: &str) -> Result<Key, ApiError> {
    let raw = uri.path().strip_prefix(prefix).unwrap_or_default();
    if raw.contains('/') {
        return Err(ApiError::invalid("a key is one segment of the path: write a slash inside it as %2F"));
    }
    Ok(Key::new(&decode(raw)?)?)
}

/// Decodes percent-encoded UTF-8, and refuses what is neither.
fn decode(text: &str) -> Result<String, ApiError> {
    let bytes = text.as_bytes();
    let malformed = bytes.iter().enumerate().any(|(index, byte)| {
        let hex = |offset: usize| bytes.get(index + offset).is_some_and(u8::is_ascii_hexdigit);
        *byte == b'%' && !(hex(1) && hex(2))
    });
    if malformed {
        return Err(ApiError::invalid(format!("{text:?} is not percent-encoded: a % is followed by two hex digits")));
    }
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| ApiError::invalid(format!("{text:?} is not percent-encoded UTF-8")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query::of(&format!("/x?{text}").parse().expect("a URI")).expect("well-formed")
    }

    fn key(path: &str) -> Option<String> {
        key_in_path(&path.parse().expect("a URI"), "/api/v1/data/").ok().map(|key| key.to_string())
    }

    #[test]
    fn parameters_are_decoded_and_the_last_one_counts() {
        let query = query("key=a%20b+c%2Bd&r=1&r=2&flag&=x&&");
        assert_eq!(query.get("key"), Some("a b c+d"));
        assert_eq!(query.get("r"), Some("2"));
        assert_eq!(query.get("flag"), Some(""));
        assert_eq!(query.get("w"), None);
    }

    #[test]
    fn quorums_are_one_to_the_number_of_copies_or_all() {
        for (text, expected) in [
            ("w=1", Some(Quorum::Count(1))),
            ("w=3", Some(Quorum::Count(3))),
            ("w=all", Some(Quorum::All)),
            ("x=1", None),
        ] {
            assert_eq!(query(text).quorum("w", 3).expect("good"), expected, "{text}");
        }
        for text in ["w=0", "w=4", "w=300", "w=-1", "w=", "w=two"] {
            assert!(query(text).quorum("w", 3).is_err(), "{text}");
            assert!(query(text).primaries("w", 3).is_err(), "{text}");
        }
        assert_eq!(query("pw=all").primaries("pw", 3).expect("good"), Some(3));
    }

    #[test]
    fn flags_are_true_or_false_and_nothing_else() {
        assert_eq!(query("a=b").flag("sloppy").ok(), Some(None));
        assert_eq!(query("sloppy=false").flag("sloppy").ok(), Some(Some(false)));
        assert_eq!(query("sloppy=true").flag("sloppy").ok(), Some(Some(true)));
        for malformed in ["sloppy", "sloppy=", "sloppy=0", "sloppy=False"] {
            assert!(query(malformed).flag("sloppy").is_err(), "{malformed}");
        }
    }

    #[test]
    fn keys_in_paths_are_percent_encoded_utf8_in_one_segment() {
        for (path, expected) in [
            ("/api/v1/data/user:123", Some("user:123")),
            ("/api/v1/data/a%2Fb%20c", Some("a/b c")),
            ("/api/v1/data/a+b", Some("a+b")),
            ("/api/v1/data/%C3%A4", Some("ä")),
            ("/api/v1/data/a/b", None),
            ("/api/v1/data/", None),
            ("/api/v1/data/%zz", None),
            ("/api/v1/data/%4", None),
            ("/api/v1/data/%FF", None),
        ] {
            assert_eq!(key(path).as_deref(), expected, "{path}");
        }
    }
}
