//! The three processes of the bare quorum, `native/examples/bare_quorum.rs`: start, wait until they serve, end.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cluster::SIZE;
use crate::http;
use crate::rehearsal::free_ports;

const READY_TIMEOUT: Duration = Duration::from_secs(10);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Running processes; they end with this value.
pub(crate) struct Bare {
    processes: Vec<Child>,
    addresses: Vec<SocketAddr>,
}

impl Bare {
    /// Starts three, with journals in `data` where there is one.
    pub(crate) fn start(binary: &Path, data: Option<&Path>) -> Result<Self> {
        let first = free_ports(2 * SIZE)?;
        let at = |offset: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, first + offset));
        let mut bare = Self { processes: Vec::new(), addresses: (0..SIZE).map(at).collect() };
        for number in 0..SIZE {
            let peers: Vec<_> =
                (0..SIZE).filter(|other| *other != number).map(|other| at(SIZE + other).to_string()).collect();
            let mut command = Command::new(binary);
            command.args(["--http", &at(number).to_string(), "--listen", &at(SIZE + number).to_string()]);
            command.args(["--peers", &peers.join(",")]).stdin(Stdio::null());
            if let Some(data) = data {
                fs::create_dir_all(data).with_context(|| format!("cannot create {}", data.display()))?;
                command.arg("--journal").arg(data.join(format!("journal-{number}")));
            }
            let process = command.spawn().with_context(|| format!("cannot start {}", binary.display()))?;
            bare.processes.push(process);
        }
        bare.wait_until_ready()?;
        Ok(bare)
    }

    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    pub(crate) fn process_ids(&self) -> Vec<u32> {
        self.processes.iter().map(Child::id).collect()
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let began = Instant::now();
        for (process, address) in self.processes.iter_mut().zip(&self.addresses) {
            while let Err(error) = http::get_json(*address, "/ready", REQUEST_TIMEOUT) {
                if let Some(status) = process.try_wait()? {
                    bail!("a process of the bare quorum ended ({status})");
                }
                if began.elapsed() > READY_TIMEOUT {
                    return Err(error.context(format!("the bare quorum does not serve at {address}")));
                }
                std::thread::sleep(POLL_INTERVAL);
            }
        }
        Ok(())
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // One that has ended already cannot be ended, and need not be.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
