//! File descriptors: as many as the system lets this process have, and shared out so that clients can never take those that
//! the store needs. Never opens one itself.

use rustix::process::{Resource, getrlimit, setrlimit};

/// What the store, the links to other nodes and the process itself may need.
const RESERVED: u64 = 3_072;
/// Most tables that the store keeps open; part of the reserve.
pub(crate) const TABLES_MAX: usize = 512;
/// Most connections of clients and nodes together, whatever the system allows.
const CONNECTIONS_MAX: u64 = 8_192;
/// Fewest: a system that allows fewer descriptors than the reserve is not worth refusing to start.
const CONNECTIONS_MIN: u64 = 64;

/// Raises this process's limit as far as it may, and says how many connections fit below it.
pub(crate) fn raise_limit() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => limit = raised,
            Err(error) => tracing::debug!("the limit on open files stays at {:?}: {error}", limit.current),
        }
    }
    let connections = connections_below(limit.current);
    tracing::debug!("{connections} connections at one time, below a limit of {:?} open files", limit.current);
    connections
}

/// How many connections fit below a limit; none is no limit.
fn connections_below(limit: Option<u64>) -> usize {
    let free = limit.map_or(CONNECTIONS_MAX, |limit| limit.saturating_sub(RESERVED));
    usize::try_from(free.clamp(CONNECTIONS_MIN, CONNECTIONS_MAX)).expect("a few thousand")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_the_reserve_alone() {
        for (limit, connections) in
            [(Some(1_024), 64), (Some(4_096), 1_024), (Some(20_000), 8_192), (Some(u64::MAX), 8_192), (None, 8_192)]
        {
            assert_eq!(connections_below(limit), connections, "{limit:?}");
        }
    }
}
