//! `quorate events`: what users and nodes have told the whole cluster, and with `--follow` what they go on telling.

use std::io;

use clap::Args;
use serde_json::Value;

use super::command::{ClientArguments, ClientError, accepted, encoded, text};
use super::connection::Call;
use super::table;

/// Width of the columns while events come one by one, where no later one can make them wider.
const FOLLOWED_WIDTHS: [usize; 2] = [18, 12];

/// Which events, and for how long.
#[derive(Args, Clone, Debug)]
pub struct EventsArguments {
    /// Only events of this name, for example quorate.member
    #[arg(long)]
    name: Option<String>,
    /// Go on showing events as they come, until interrupted
    #[arg(long)]
    follow: bool,
    /// Where to ask.
    #[command(flatten)]
    client: ClientArguments,
}

/// Shows events: a table for people, or one line of JSON for each.
pub(super) async fn run(arguments: EventsArguments, out: &mut impl io::Write) -> Result<(), ClientError> {
    let EventsArguments { name, follow, client } = arguments;
    let name = name.map(|name| format!("&name={}", encoded(&name))).unwrap_or_default();
    let mut answer = client.stream(Call::get(format!("/gossip/events?follow={follow}{name}"))).await?;
    if !answer.status.is_success() {
        accepted(answer.into_answer().await?)?;
        return Ok(());
    }
    let (mut lines, mut rows) = (Lines::default(), Vec::new());
    while let Some(bytes) = answer.next().await? {
        for event in lines.take(&bytes) {
            if client.json {
                writeln!(out, "{event}")?;
                continue;
            }
            let row = row(&serde_json::from_str(&event).map_err(|_| ClientError::NotQuorate(answer.status.as_u16()))?);
            if follow {
                let [name, node] = FOLLOWED_WIDTHS;
                writeln!(out, "{:name$}  {:node$}  {}", row[0], row[1], row[2])?;
            } else {
                rows.push(row.to_vec());
            }
        }
        if follow {
            out.flush()?;
        }
    }
    if follow {
        return Err(ClientError::Connection("the node has ended the stream of events: follow another one".into()));
    }
    if !client.json {
        out.write_all(table::render(&["EVENT", "TOLD BY", "WHAT"], &rows).as_bytes())?;
    }
    Ok(())
}

fn row(event: &Value) -> [String; 3] {
    let payload = event.get("payload").map_or_else(|| text(&event["payload_base64"]), Value::to_string);
    [text(&event["name"]), text(&event["node_id"]), payload]
}

/// Server-sent events out of bytes that come in pieces.
#[derive(Debug, Default)]
struct Lines(Vec<u8>);

impl Lines {
    /// The data of each event that is complete with these bytes.
    fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        self.0.extend_from_slice(bytes);
        let end = self.0.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let complete: Vec<u8> = self.0.drain(..end).collect();
        let text = String::from_utf8_lossy(&complete);
        text.lines().filter_map(|line| line.strip_prefix("data: ")).map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_put_together_from_pieces() {
        let mut lines = Lines::default();
        assert_eq!(lines.take(b":\n\nda"), Vec::<String>::new());
        assert_eq!(lines.take(b"ta: {\"a\":\"\xc3"), Vec::<String>::new());
        assert_eq!(lines.take(b"\xa4\"}\n\ndata: 1\n\ndata: 2"), ["{\"a\":\"ä\"}", "1"]);
        assert_eq!(lines.take(b"\n\n"), ["2"]);
    }
}
