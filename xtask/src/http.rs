//! Asks a server on this machine for JSON.
//!
//! Knows as much of HTTP/1.0 as that takes: no encryption, no redirects, no chunks. Never waits longer than it is told.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// More than any answer that is asked for here.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// Sends `GET path` and gives the body of a 200.
pub(crate) fn get_json(address: SocketAddr, path: &str, timeout: Duration) -> Result<Value> {
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    parse(&answer)
}

fn parse(answer: &[u8]) -> Result<Value> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").context("the answer is not HTTP")?;
    let head = String::from_utf8_lossy(&answer[..end]);
    let mut status = head.lines().next().unwrap_or_default().split(' ');
    ensure!(status.next().is_some_and(|version| version.starts_with("HTTP/1.")), "the answer is not HTTP");
    match status.next() {
        Some("200") => serde_json::from_slice(&answer[end + 4..]).context("the answer is not JSON"),
        Some(code) => bail!("the answer has status {code}"),
        None => bail!("the answer is not HTTP"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_its_json_or_a_reason() {
        let table = [
            ("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{\"a\":1}", "{\"a\":1}"),
            ("HTTP/1.0 200 OK\r\n\r\nnull", "null"),
            ("HTTP/1.1 200 OK\r\n\r\n<p>", "the answer is not JSON"),
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n{}", "the answer has status 503"),
            ("HTTP/1.1\r\n\r\n{}", "the answer is not HTTP"),
            ("SSH-2.0\r\n\r\n", "the answer is not HTTP"),
            ("HTTP/1.1 200 OK\r\n", "the answer is not HTTP"),
            ("", "the answer is not HTTP"),
        ];
        for (answer, expected) in table {
            let outcome = parse(answer.as_bytes());
            let text = outcome.map_or_else(|error| error.to_string(), |value| value.to_string());
            assert_eq!(text, expected, "{answer:?}");
        }
    }
}
