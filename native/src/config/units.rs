//! Spans of time, sizes, addresses and whatever else people write as a short text. Never decides which of them are sensible.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use quorate_core::config::Strategy;
use quorate_core::id::Address;

/// A span of time such as `200ms`, `1s` or `1m 30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

/// How long something may last: a span of time, or for ever, written `never`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience(pub Option<Duration>);

/// When a write counts as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// After an fsync; writes that come together share one.
    Sync,
    /// Once the operating system has it, which outlives the process; an fsync after each such span makes it outlive a power
    /// cut. Between 1 ms and 1 h.
    Interval(Duration),
    /// Once the operating system has it. Nothing but the end of the node asks for an fsync of data.
    Os,
}

/// A size such as `512KiB`, `1MiB` or `4096`, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub usize);

/// Where a node is reached, checked to be `host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(pub Address);

/// Where a page of a browser came from: scheme, host and port (RFC 6454).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Whether the scheme is https; else it is http.
    pub secure: bool,
    /// The host in lower case; that of an IPv6 address without brackets.
    pub host: String,
    /// The port, be it named or that of the scheme.
    pub port: u16,
}

/// A text that is not what it should be; nothing came of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a span of time.
    #[error("a span of time is a number and a unit, for example 200ms, 1s or 5m")]
    Span,
    /// Neither a span of time nor never.
    #[error("it is a span of time, for example 5s or 24h, or never")]
    Patience,
    /// Not a durability.
    #[error("it is sync, os, or interval:SPAN with a span from 1ms to 1h, for example interval:1s")]
    Durability,
    /// Not a size.
    #[error("a size is a number of bytes, or a number and KiB or MiB, for example 1MiB")]
    Size,
    /// Not an address.
    #[error("an address is host:port with a port from 1 to 65535, for example 10.0.0.7:8080 or [::1]:8080")]
    Endpoint,
    /// Not an origin.
    #[error(
        "an origin is http:// or https:// and host or host:port, with nothing behind, for example https://shop.example.org"
    )]
    Origin,
    /// Not a tag.
    #[error("a tag is NAME=VALUE, for example rack=7")]
    Tag,
    /// Not a strategy.
    #[error(
        "a strategy is PREFIX=siblings or PREFIX=lww, for example session/=lww; an empty prefix is that of all keys"
    )]
    Strategy,
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        humantime::parse_duration(text).map(Self).map_err(|_| UnitError::Span)
    }
}

impl Origin {
    /// The origin of pages that are served at an address.
    #[must_use]
    pub fn of(secure: bool, address: &Address) -> Option<Self> {
        let (host, port) = address.as_str().rsplit_once(':')?;
        Some(Self { secure, host: plain_host(host), port: port.parse().ok()? })
    }
}

/// A host as it is compared: in lower case, without the brackets of an IPv6 address and the dot of the DNS root.
pub(crate) fn plain_host(host: &str) -> String {
    let inside = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    inside.strip_suffix('.').unwrap_or(inside).to_ascii_lowercase()
}

impl FromStr for Origin {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (scheme, authority) = text.split_once("://").ok_or(UnitError::Origin)?;
        let secure = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(UnitError::Origin),
        };
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        let usual_port = if secure { 443 } else { 80 };
        let full = if has_port { authority.to_owned() } else { format!("{authority}:{usual_port}") };
        let Endpoint(address) = full.parse().map_err(|_| UnitError::Origin)?;
        Self::of(secure, &address).ok_or(UnitError::Origin)
    }
}

impl FromStr for Patience {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        match text {
            "never" => Ok(Self(None)),
            _ => text.parse().map(|Span(span)| Self(Some(span))).map_err(|_| UnitError::Patience),
        }
    }
}

impl FromStr for Durability {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        match text {
            "sync" => Ok(Self::Sync),
            "os" => Ok(Self::Os),
            _ => {
                let span = text.strip_prefix("interval:").and_then(|span| span.parse().ok()).map(|Span(span)| span);
                let allowed = Duration::from_millis(1)..=Duration::from_secs(3_600);
                span.filter(|span| allowed.contains(span)).map(Self::Interval).ok_or(UnitError::Durability)
            }
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sync => f.write_str("sync"),
            Self::Interval(span) => write!(f, "interval:{}", humantime::format_duration(*span)),
            Self::Os => f.write_str("os"),
        }
    }
}

impl FromStr for Size {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let factor = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "kib" => 1_024,
            "mib" => 1_024 * 1_024,
            _ => return Err(UnitError::Size),
        };
        let number: usize = number.parse().map_err(|_| UnitError::Size)?;
        number.checked_mul(factor).map(Self).ok_or(UnitError::Size)
    }
}

impl FromStr for Endpoint {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (host, port) = text.rsplit_once(':').ok_or(UnitError::Endpoint)?;
        let bracketed = host.starts_with('[') && host.ends_with(']');
        let host_is_good = if bracketed {
            host[1..host.len() - 1].parse::<std::net::Ipv6Addr>().is_ok()
        } else {
            !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
        };
        let port_is_good = port.parse::<u16>().is_ok_and(|port| port > 0) && !port.starts_with('+');
        if !host_is_good || !port_is_good {
            return Err(UnitError::Endpoint);
        }
        Address::new(text).map(Self).map_err(|_| UnitError::Endpoint)
    }
}

/// Splits `NAME=VALUE`.
///
/// # Errors
/// [`UnitError::Tag`] when there is no `=` or no name.
pub(super) fn parse_tag(text: &str) -> Result<(String, String), UnitError> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err(UnitError::Tag),
    }
}

/// Splits `PREFIX=STRATEGY`; the prefix may be empty and may hold `=` itself.
///
/// # Errors
/// [`UnitError::Strategy`] when there is no `=`, or what follows the last one is no strategy.
pub(super) fn parse_strategy(text: &str) -> Result<(String, Strategy), UnitError> {
    let (prefix, name) = text.rsplit_once('=').ok_or(UnitError::Strategy)?;
    let all = [Strategy::Siblings, Strategy::Lww];
    let strategy = all.into_iter().find(|strategy| strategy.as_str() == name).ok_or(UnitError::Strategy)?;
    Ok((prefix.into(), strategy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units_or_none() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("4096", Some(4_096)),
            ("1KiB", Some(1_024)),
            ("1 MiB", Some(1_048_576)),
            ("16mib", Some(16 << 20)),
            ("", None),
            ("MiB", None),
            ("1MB", None),
            ("-1", None),
            ("1.5MiB", None),
            ("99999999999999999999", None),
            ("99999999999999999MiB", None),
        ] {
            assert_eq!(text.parse::<Size>().ok().map(|size| size.0), bytes, "{text:?}");
        }
    }

    #[test]
    fn addresses_have_a_host_and_a_port() {
        for (text, good) in [
            ("127.0.0.1:8080", true),
            ("node-1.example.org:1", true),
            ("compose_service:8080", true),
            ("[::1]:65535", true),
            ("::1:8080", false),
            ("[localhost]:80", false),
            ("localhost", false),
            (":8080", false),
            ("host:0", false),
            ("host:+80", false),
            ("host:65536", false),
            ("http://host:80", false),
            ("ho st:80", false),
        ] {
            assert_eq!(text.parse::<Endpoint>().is_ok(), good, "{text:?}");
        }
    }

    #[test]
    fn origins_are_compared_by_what_they_mean() {
        let origin = |secure, host: &str, port| Some(Origin { secure, host: host.into(), port });
        for (text, expected) in [
            ("http://127.0.0.1:8080", origin(false, "127.0.0.1", 8_080)),
            ("https://Shop.Example.org", origin(true, "shop.example.org", 443)),
            ("http://[::1]", origin(false, "::1", 80)),
            ("http://[::1]:81", origin(false, "::1", 81)),
            ("null", None),
            ("*", None),
            ("https://*", None),
            ("https://a/b", None),
            ("https://a/", None),
            ("https://me@a", None),
            ("ftp://a", None),
            ("https://", None),
            ("shop.example.org", None),
        ] {
            assert_eq!(text.parse().ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn spans_need_a_unit() {
        assert_eq!("200ms".parse::<Span>(), Ok(Span(Duration::from_millis(200))));
        assert_eq!("1m 30s".parse::<Span>(), Ok(Span(Duration::from_secs(90))));
        assert_eq!("200".parse::<Span>(), Err(UnitError::Span));
        assert_eq!("soon".parse::<Span>(), Err(UnitError::Span));
    }

    #[test]
    fn patience_ends_or_does_not() {
        for (text, expected) in [
            ("never", Ok(Patience(None))),
            ("0s", Ok(Patience(Some(Duration::ZERO)))),
            ("24h", Ok(Patience(Some(Duration::from_secs(86_400))))),
            ("Never", Err(UnitError::Patience)),
            ("", Err(UnitError::Patience)),
        ] {
            assert_eq!(text.parse(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_durability_is_one_of_three_and_is_shown_as_it_is_written() {
        for text in ["sync", "os", "interval:1s", "interval:1ms", "interval:1h", "interval:1m 30s"] {
            assert_eq!(text.parse::<Durability>().map(|durability| durability.to_string()).as_deref(), Ok(text));
        }
        for text in ["", "Sync", "never", "interval", "interval:", "interval:1", "interval:0s", "interval:61m", "os:1s"]
        {
            assert_eq!(text.parse::<Durability>(), Err(UnitError::Durability), "{text:?}");
        }
    }

    #[test]
    fn tags_have_a_name() {
        assert_eq!(parse_tag("rack=7=8"), Ok(("rack".into(), "7=8".into())));
        assert_eq!(parse_tag("=7"), Err(UnitError::Tag));
        assert_eq!(parse_tag("rack"), Err(UnitError::Tag));
    }

    #[test]
    fn a_strategy_has_a_prefix_be_it_empty() {
        for (text, expected) in [
            ("=lww", Some(("", Strategy::Lww))),
            ("session/=lww", Some(("session/", Strategy::Lww))),
            ("a=b=siblings", Some(("a=b", Strategy::Siblings))),
            ("lww", None),
            ("a=", None),
            ("a=LWW", None),
            ("", None),
        ] {
            let parsed = parse_strategy(text).ok();
            assert_eq!(parsed, expected.map(|(prefix, strategy)| (prefix.to_owned(), strategy)), "{text:?}");
        }
    }
}
