//! Members that are found by a name in the DNS, such as that of a Kubernetes headless service. The core knows the name as
//! one seed; each try to reach it asks the DNS again and reaches everybody found. Never decides whether to found a cluster.

use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use quorate_core::id::Address;
use tokio::net::lookup_host;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::config::{Endpoint, Settings, is_self};

/// Where to ask for members: `dns://NAME:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveryService(Address);

/// A text that is no such place; nothing came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("members are found with dns://NAME:PORT, for example dns://quorate.default.svc.cluster.local:8080")]
pub struct DiscoveryError;

impl DiscoveryService {
    /// Its name and port, as the seed that stands for all members found.
    #[must_use]
    pub const fn address(&self) -> &Address {
        &self.0
    }
}

impl FromStr for DiscoveryService {
    type Err = DiscoveryError;

    fn from_str(text: &str) -> Result<Self, DiscoveryError> {
        let name = text.strip_prefix("dns://").ok_or(DiscoveryError)?;
        name.parse().map(|Endpoint(address)| Self(address)).map_err(|_| DiscoveryError)
    }
}

/// Asks for one node, one question at a time.
pub(crate) struct Discovery {
    service: DiscoveryService,
    advertise: Address,
    listen: SocketAddr,
    runtime: Handle,
    turn: Arc<Semaphore>,
    /// The last question was in vain, and that was said.
    complained: Arc<AtomicBool>,
}

impl Discovery {
    /// What the settings say; must be called inside a tokio runtime.
    pub(crate) fn new(settings: &Settings) -> Option<Self> {
        Some(Self {
            service: settings.discovery.clone()?,
            advertise: settings.advertise.clone(),
            listen: settings.listen,
            runtime: Handle::current(),
            turn: Arc::new(Semaphore::new(1)),
            complained: Arc::default(),
        })
    }

    /// Whether this address stands for everybody found.
    pub(crate) fn stands_behind(&self, address: &Address) -> bool {
        self.service.0 == *address
    }

    /// Gives everybody found to `reach`, without waiting for it. Nobody while the question before is not answered.
    pub(crate) fn find(&self, reach: impl Fn(Address) + Send + 'static) {
        let Ok(turn) = self.turn.clone().try_acquire_owned() else { return };
        let (name, complained) = (self.service.0.clone(), self.complained.clone());
        let (advertise, listen) = (self.advertise.clone(), self.listen);
        self.runtime.spawn(async move {
            match lookup_host(name.as_str()).await {
                Ok(found) => {
                    complained.store(false, Ordering::Relaxed);
                    others_or_self(found, |address| is_self(address, &advertise, listen)).into_iter().for_each(reach);
                }
                Err(error) if !complained.swap(true, Ordering::Relaxed) => {
                    tracing::warn!("the DNS knows nobody at {name} ({error}); it is asked again until it does");
                }
                Err(_) => {}
            }
            drop(turn);
        });
    }
}

/// Everybody found but this node; this node if there is nobody else, for that is what tells the core so.
fn others_or_self(found: impl Iterator<Item = SocketAddr>, is_self: impl Fn(&Address) -> bool) -> Vec<Address> {
    let found = found.filter_map(|address| Address::new(&address.to_string()).ok());
    let (mut own, mut others): (Vec<Address>, Vec<Address>) = found.partition(is_self);
    if others.is_empty() {
        own.truncate(1);
        return own;
    }
    others.sort_unstable();
    others.dedup();
    others
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_a_name_and_a_port_in_the_dns() {
        let address = |text: &str| text.parse::<DiscoveryService>().map(|service| service.address().to_string());
        assert_eq!(address("dns://quorate.svc:8080"), Ok("quorate.svc:8080".into()));
        for text in ["quorate.svc:8080", "dns://quorate.svc", "dns://", "http://quorate.svc:8080"] {
            assert_eq!(address(text), Err(DiscoveryError), "{text}");
        }
    }

    #[test]
    fn a_node_reaches_itself_only_where_there_is_nobody_else() {
        let found = |addresses: &[&str]| -> Vec<String> {
            let parsed: Vec<SocketAddr> = addresses.iter().map(|text| text.parse().expect("good")).collect();
            let is_self = |address: &Address| address.as_str() == "10.0.0.1:80";
            others_or_self(parsed.into_iter(), is_self).iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            found(&["10.0.0.3:80", "10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]),
            ["10.0.0.2:80", "10.0.0.3:80"]
        );
        assert_eq!(found(&["10.0.0.1:80", "10.0.0.1:80"]), ["10.0.0.1:80"]);
        assert!(found(&[]).is_empty());
    }
}
