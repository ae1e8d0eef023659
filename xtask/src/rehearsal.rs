//! Runs the demo as a person would, twice over the same data, and checks that it keeps its promises.
//!
//! Uses free ports and a directory of its own, so that a demo that is running is never disturbed.

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cluster::SIZE;
use crate::http;
use crate::progress::Progress;
use crate::workspace::{self, Workspace};

/// The line that says that the cluster is up begins like this.
const INVITATION: &str = "Three nodes are one cluster.";
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// # Errors
/// Says which promise was broken.
pub(crate) fn run(workspace: &Workspace, progress: &mut Progress) -> Result<()> {
    let data = workspace.target().join("rehearsal");
    if data.exists() {
        std::fs::remove_dir_all(&data).with_context(|| format!("cannot empty {}", data.display()))?;
    }
    let port = free_ports(SIZE)?;
    let first = progress.part("first demo", |_| demo(workspace, port, &data))?;
    let second = progress.part("second demo, same data", |_| demo(workspace, port, &data))?;
    ensure!(first == second, "the second demo is cluster {second} and not {first}, whose data it was given");

    progress.part("a port in use", |_| {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port + SIZE - 1))?;
        let output = command(workspace, port, &data)?.stdin(Stdio::null()).output()?;
        let message = String::from_utf8_lossy(&output.stderr);
        let expected = format!("port {} cannot be used", taken.local_addr()?.port());
        ensure!(!output.status.success() && message.contains(&expected), "it should say `{expected}`: {message}");
        Ok(())
    })
}

/// One demo, stopped as by Ctrl-C; gives the id of the cluster.
fn demo(workspace: &Workspace, port: u16, data: &Path) -> Result<String> {
    let mut demo = command(workspace, port, data)?.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(demo.stdout.take().context("its output is a pipe")?).lines();
    let outcome = await_line(&mut lines).and_then(|()| cluster_id((Ipv4Addr::LOCALHOST, port).into()));
    interrupt(&demo)?;
    // To the end, so that the demo can never wait for a full pipe.
    let rest: Vec<String> = lines.collect::<std::io::Result<_>>()?;
    let status = demo.wait()?;
    let id = outcome?;
    ensure!(status.success(), "the demo ended with {status} after Ctrl-C: {}", rest.join("\n"));
    for offset in 0..SIZE {
        TcpListener::bind((Ipv4Addr::LOCALHOST, port + offset)).context("a node outlived the demo")?;
    }
    Ok(id)
}

/// Waits for the invitation. The demo ends by itself if its cluster does not form in time, so this ends too.
fn await_line<R: Read>(lines: &mut std::io::Lines<BufReader<R>>) -> Result<()> {
    let mut seen = String::new();
    for line in lines {
        let line = line?;
        if line.starts_with(INVITATION) {
            return Ok(());
        }
        seen.push_str(&line);
        seen.push('\n');
    }
    bail!("the demo ended before its cluster was up:\n{seen}")
}

fn command(workspace: &Workspace, port: u16, data: &Path) -> Result<Command> {
    let mut command = Command::new(workspace::this_program()?);
    command.arg("demo").arg("--port").arg(port.to_string()).arg("--data").arg(data).current_dir(workspace.root());
    Ok(command)
}

fn cluster_id(address: SocketAddr) -> Result<String> {
    let status = http::get_json(address, "/api/v1/status", REQUEST_TIMEOUT)?;
    let id = status["cluster"]["id"].as_str().context("the status names no cluster id")?;
    Ok(id.to_owned())
}

fn interrupt(demo: &Child) -> Result<()> {
    let pid = i32::try_from(demo.id()).context("a process id is a positive i32")?;
    // An error means that it has ended already, which its status will tell.
    let _ = kill(Pid::from_raw(pid), Signal::SIGINT);
    Ok(())
}

/// The first of so many free ports in a row.
pub(crate) fn free_ports(count: u16) -> Result<u16> {
    const TRIES_MAX: usize = 100;
    for _ in 0..TRIES_MAX {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let row = port..=port.saturating_add(count - 1);
        let free = row.len() == usize::from(count)
            && row.into_iter().all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok());
        if free {
            return Ok(port);
        }
    }
    bail!("no {count} free ports in a row were found in {TRIES_MAX} tries")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(output: &str) -> std::result::Result<(), String> {
        let mut lines = BufReader::new(output.as_bytes()).lines();
        await_line(&mut lines).map_err(|error| error.to_string())
    }

    #[test]
    fn the_invitation_is_waited_for() {
        assert_eq!(outcome("building\nThree nodes are one cluster. Open …\nmore"), Ok(()));
        let error = outcome("building\nerror: no disk\n").expect_err("it never came");
        assert_eq!(error, "the demo ended before its cluster was up:\nbuilding\nerror: no disk\n");
    }
}
