//! From where a browser may use this node. Whoever opens a page must not hand it the keys to the store behind his back: so
//! a page says where it comes from (`Origin`), and the name by which it found this node (`Host`) must be one of ours, or
//! anybody could point a name of his own here and call his page ours. Never looks at tokens.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::{HOST, ORIGIN};
use quorate_core::id::Address;

use super::App;
use super::error::ApiError;
use crate::config::{Origin, Settings, plain_host};

/// Who sends a request, as far as its headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// No page of a browser; or one from an origin that the operator has named.
    Program,
    /// A page that a member of the cluster has served.
    MemberPage,
}

/// What the settings say about pages and names.
#[derive(Debug)]
pub(crate) struct Origins {
    /// Pages from here may do what programs may.
    allowed: Vec<Origin>,
    /// Where this node is reached, the names of this machine included.
    own: Vec<Origin>,
    /// Whether pages of members come over TLS.
    secure: bool,
}

impl Origins {
    pub(crate) fn new(settings: &Settings) -> Self {
        let secure = settings.tls.is_some();
        let ports = [Some(settings.listen), settings.kv_listen].into_iter().flatten().map(|address| address.port());
        let on_loopback = ports.flat_map(|port| loopback(secure, port));
        let own = Origin::of(secure, &settings.advertise).into_iter().chain(on_loopback).collect();
        Self { allowed: settings.allow_origins.clone(), own, secure }
    }

    /// Whether these are pages of a member at the address.
    fn is_of_member(&self, origin: &Origin, address: &Address) -> bool {
        let Some(member) = Origin::of(self.secure, address) else { return false };
        // On loopback a member has all names of this machine; elsewhere it is another machine's.
        *origin == member || is_loopback(&member.host) && loopback(self.secure, member.port).contains(origin)
    }

    /// Whether nobody but the operator can have pointed this name here.
    fn is_safe_name(&self, host: &str) -> bool {
        let is_number = host.parse::<IpAddr>().is_ok();
        // Names without a dot, and those below `localhost` and `internal`, are in no public DNS.
        let is_private = !host.contains('.') || host.ends_with(".localhost") || host.ends_with(".internal");
        let named = || self.own.iter().chain(&self.allowed).any(|origin| origin.host == host);
        is_number || is_private || named()
    }
}

/// This machine's names for itself.
fn loopback(secure: bool, port: u16) -> [Origin; 3] {
    ["localhost", "127.0.0.1", "::1"].map(|host| Origin { secure, host: host.into(), port })
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl App {
    /// Refuses a name that this node does not have.
    pub(super) async fn check_host(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let Some(host) = headers.get(HOST) else { return Ok(()) };
        let text = host.to_str().unwrap_or_default();
        let host = plain_host(host_of(text));
        if self.origins.is_safe_name(&host) || self.members_have(move |member| member.host == host).await? {
            return Ok(());
        }
        Err(ApiError::forbidden(format!(
            "{text:?} is no name of this node or of another member: use an IP address, or start this node with \
             --allow-origin http://{text} if the name is meant"
        )))
    }

    /// Who sends a request with these headers. Pages from elsewhere are refused.
    pub(super) async fn sender(&self, headers: &HeaderMap) -> Result<Sender, ApiError> {
        let Some(origin) = headers.get(ORIGIN) else { return Ok(Sender::Program) };
        let text = origin.to_str().unwrap_or_default();
        if let Ok(origin) = text.parse::<Origin>() {
            if self.origins.allowed.contains(&origin) {
                return Ok(Sender::Program);
            }
            if self.origins.own.contains(&origin) || self.is_member_page(&origin).await? {
                return Ok(Sender::MemberPage);
            }
        }
        Err(ApiError::forbidden(format!(
            "pages of {text} may not use this node: start it with --allow-origin {text} if they are meant to"
        )))
    }

    async fn is_member_page(&self, origin: &Origin) -> Result<bool, ApiError> {
        let addresses = self.member_addresses().await?;
        Ok(addresses.iter().any(|address| self.origins.is_of_member(origin, address)))
    }

    async fn members_have(&self, has: impl Fn(Origin) -> bool) -> Result<bool, ApiError> {
        let addresses = self.member_addresses().await?;
        Ok(addresses.iter().filter_map(|address| Origin::of(self.origins.secure, address)).any(has))
    }

    /// Where the current members are: those that are not known to be dead or gone.
    async fn member_addresses(&self) -> Result<Vec<Address>, ApiError> {
        let present = self.runtime.node(|node| {
            let members = node.membership().members().map(|known| &known.member);
            members.filter(|member| member.state.is_present()).map(|member| member.address.clone()).collect()
        });
        Ok(present.await?)
    }
}

/// The host of a `Host` header, with the brackets of an IPv6 address.
fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Options;

    fn origins() -> Origins {
        let options = Options {
            port: Some(8_081),
            kv_port: Some(9_081),
            advertise: "db-1.example.org:8081".parse().ok(),
            allow_origin: Some(vec!["https://shop.example.org".parse().expect("an origin")]),
            ..Options::default()
        };
        Origins::new(&Settings::new(options).expect("good"))
    }

    #[test]
    fn a_name_is_safe_where_no_stranger_can_have_pointed_it_here() {
        let origins = origins();
        for (authority, safe) in [
            ("127.0.0.1:8081", true),
            ("10.0.0.7", true),
            ("[::1]:8081", true),
            ("LocalHost:8081", true),
            ("localhost.:8081", true),
            ("node-1:8081", true),
            ("a.localhost", true),
            ("db-1.example.org:8081", true),
            ("shop.example.org", true),
            ("db-2.example.org:8081", false),
            ("127.0.0.1.example.org:8081", false),
            ("evil.example:8081", false),
            ("localhost.evil.example", false),
        ] {
            assert_eq!(origins.is_safe_name(&plain_host(host_of(authority))), safe, "{authority}");
        }
    }

    #[test]
    fn a_page_is_a_members_by_its_address_or_on_this_machine_by_any_name() {
        let origins = origins();
        let address = |text: &str| Address::new(text).expect("good");
        for (origin, member, expected) in [
            ("http://127.0.0.1:8082", "127.0.0.1:8082", true),
            ("http://localhost:8082", "127.0.0.1:8082", true),
            ("http://[::1]:8082", "localhost:8082", true),
            ("http://db-2.example.org:8082", "db-2.example.org:8082", true),
            ("http://db-2.example.org", "db-2.example.org:80", true),
            ("https://127.0.0.1:8082", "127.0.0.1:8082", false),
            ("http://127.0.0.1:8083", "127.0.0.1:8082", false),
            ("http://localhost:8082", "db-2.example.org:8082", false),
        ] {
            let origin = origin.parse().expect("an origin");
            assert_eq!(origins.is_of_member(&origin, &address(member)), expected, "{origin:?} {member}");
        }
        for own in ["http://localhost:8081", "http://127.0.0.1:9081", "http://db-1.example.org:8081"] {
            assert!(origins.own.contains(&own.parse().expect("an origin")), "{own}");
        }
    }
}
