//! The command line of the console: what a person types, and what it means. Says what was wrong and what would be right;
//! never guesses a name, never does anything itself.

use std::collections::BTreeSet;

use quorate_core::id::{Key, NodeId};
use quorate_core::sim::{Action, ClientOperation, DiskFate, RequestOptions};

use crate::faults;

/// Who may ask: the clients of the page.
pub const CLIENTS: [&str; 3] = ["alice", "bob", "carol"];

/// The commands with an example each, for the help.
pub const EXAMPLES: [(&str, &str); 10] = [
    ("put cart milk, eggs", "write a value; alice: put … lets another client ask, … @B asks node B"),
    ("get cart", "read it"),
    ("del cart", "delete it"),
    ("crash B", "end a process without a word; crash B lose-disk takes its disk away as well"),
    ("stop B", "end a process tidily"),
    ("restart B", "start it again"),
    ("cut A D", "cut a link both ways; cut A > D cuts one way"),
    ("split A B", "cut A and B off from all others; split A B | C D makes groups"),
    ("heal", "mend every link; heal A D mends one"),
    ("add", "let a new node join"),
];

/// Why a command was not understood. Nothing was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandError(pub String);

/// Who asks whom when the command does not say, and who is there.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    /// The client.
    pub client: &'a str,
    /// The node it asks.
    pub node: &'a NodeId,
    /// All nodes.
    pub nodes: &'a [NodeId],
}

/// What a line of the console asks for.
///
/// # Errors
/// A sentence that says what was wrong, and what would be right.
pub fn parse(line: &str, context: &Context<'_>) -> Result<Vec<Action>, CommandError> {
    let (client, line) = asking_client(line.trim(), context)?;
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    match word.to_lowercase().as_str() {
        "" => fail("type a command, for example: put cart milk"),
        "put" | "set" | "get" | "del" | "delete" => {
            let (rest, node) = asked_node(rest, context)?;
            let operation = operation(&word.to_lowercase(), rest)?;
            Ok(vec![Action::Client { client: client.into(), node, operation, options: RequestOptions::default() }])
        }
        "crash" => crash(rest, context),
        "stop" => each(rest, context, "stop B", |node| Action::Stop { node }),
        "restart" => each(rest, context, "restart B", |node| Action::Restart { node }),
        "cut" => cut(rest, context),
        "split" => split(rest, context).map(|groups| vec![Action::Partition { groups }]),
        "heal" if rest.is_empty() => Ok(vec![Action::Heal]),
        "heal" => {
            let (from, to, _) = pair(rest, context, "heal, or heal A D")?;
            Ok(vec![faults::link(&from, &to, false, 0), faults::link(&to, &from, false, 0)])
        }
        "add" if rest.is_empty() => Ok(vec![Action::Add]),
        "add" => fail("a new node gets the next free letter: type add alone"),
        other => fail(format!(
            "“{other}” is no command; there are put, get, del, crash, stop, restart, cut, split, heal and add"
        )),
    }
}

fn fail<T>(sentence: impl Into<String>) -> Result<T, CommandError> {
    Err(CommandError(sentence.into()))
}

/// The client before a colon, or the one of the context.
fn asking_client<'l>(line: &'l str, context: &Context<'l>) -> Result<(&'l str, &'l str), CommandError> {
    let Some((before, after)) = line.split_once(':') else { return Ok((context.client, line)) };
    // A colon further on belongs to a key or a value.
    if before.contains(char::is_whitespace) {
        return Ok((context.client, line));
    }
    let known = CLIENTS.iter().find(|client| client.eq_ignore_ascii_case(before));
    match known {
        Some(client) => Ok((client, after.trim())),
        None => fail(format!("there is no client “{before}”; there are {}", CLIENTS.join(", "))),
    }
}

/// What stands before a final `@B`, and the node it names, or the one of the context.
fn asked_node<'l>(rest: &'l str, context: &Context<'_>) -> Result<(&'l str, NodeId), CommandError> {
    let last = rest.split_whitespace().next_back().unwrap_or("");
    match last.strip_prefix('@') {
        Some(name) => {
            let before = rest.strip_suffix(last).unwrap_or(rest).trim_end();
            Ok((before, known(name, context)?))
        }
        None => Ok((rest, context.node.clone())),
    }
}

/// What a client asks for: `word` is one of put, set, get, del and delete.
///
/// # Errors
/// A sentence about a missing or bad key or value.
pub fn operation(word: &str, rest: &str) -> Result<ClientOperation, CommandError> {
    let (key, value) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let value = value.trim();
    if key.is_empty() {
        return fail(match word {
            "put" | "set" => "put what? A key and a value, for example: put cart milk".into(),
            _ => format!("{word} which key? For example: {word} cart"),
        });
    }
    let key = Key::new(key).or_else(|error| fail(error.to_string()))?;
    match word {
        "put" | "set" if value.is_empty() => fail(format!("put {key} what? Add a value, for example: put {key} milk")),
        "put" | "set" => Ok(ClientOperation::Put { key, value: value.into(), informed: false }),
        _ if !value.is_empty() => fail(format!("{word} takes one key and nothing else, for example: {word} {key}")),
        "get" => Ok(ClientOperation::Get { key }),
        _ => Ok(ClientOperation::Delete { key, informed: false }),
    }
}

fn known(name: &str, context: &Context<'_>) -> Result<NodeId, CommandError> {
    let found = context.nodes.iter().find(|node| node.as_str().eq_ignore_ascii_case(name));
    found.cloned().ok_or_else(|| {
        let last = context.nodes.last().map_or("", NodeId::as_str);
        CommandError(match context.nodes {
            [only] => format!("there is no node “{name}”; there is only {only}"),
            [first, ..] => format!("there is no node “{name}”; there are {first} to {last}"),
            [] => "the cluster has not begun yet".into(),
        })
    })
}

fn names(rest: &str, context: &Context<'_>) -> Result<Vec<NodeId>, CommandError> {
    let separators = |letter: char| letter.is_whitespace() || letter == ',';
    rest.split(separators).filter(|name| !name.is_empty()).map(|name| known(name, context)).collect()
}

fn each(
    rest: &str,
    context: &Context<'_>,
    example: &str,
    action: impl Fn(NodeId) -> Action,
) -> Result<Vec<Action>, CommandError> {
    let nodes = names(rest, context)?;
    if nodes.is_empty() {
        return fail(format!("which node? For example: {example}"));
    }
    Ok(nodes.into_iter().map(action).collect())
}

fn crash(rest: &str, context: &Context<'_>) -> Result<Vec<Action>, CommandError> {
    let (rest, disk) = match rest.strip_suffix("lose-disk") {
        Some(before) => (before, DiskFate::Lost),
        None => (rest, DiskFate::Kept),
    };
    each(rest, context, "crash B", |node| Action::Crash { node, disk })
}

/// Two nodes, and whether an arrow between them says one way.
fn pair(rest: &str, context: &Context<'_>, example: &str) -> Result<(NodeId, NodeId, bool), CommandError> {
    let one_way = rest.contains(['>', '→']);
    match names(&rest.replace(['>', '→', '-'], " "), context)?.as_slice() {
        [from, to] if from != to => Ok((from.clone(), to.clone(), one_way)),
        _ => fail(format!("a link has two different ends, for example: {example}")),
    }
}

fn cut(rest: &str, context: &Context<'_>) -> Result<Vec<Action>, CommandError> {
    let (from, to, one_way) = pair(rest, context, "cut A D, or cut A > D for one direction")?;
    let there = faults::link(&from, &to, true, 0);
    Ok(if one_way { vec![there] } else { vec![there, faults::link(&to, &from, true, 0)] })
}

fn split(rest: &str, context: &Context<'_>) -> Result<Vec<Vec<NodeId>>, CommandError> {
    let groups = rest.split('|').map(|group| names(group, context)).collect::<Result<Vec<_>, _>>()?;
    let mut seen = BTreeSet::new();
    if let Some(twice) = groups.iter().flatten().find(|node| !seen.insert((*node).clone())) {
        return fail(format!("{twice} can only be on one side"));
    }
    if groups.iter().any(Vec::is_empty) {
        return fail("a side needs at least one node, for example: split A B, or split A B | C D E");
    }
    if groups.len() == 1 && seen.len() == context.nodes.len() {
        return fail("all nodes on one side is no split: leave at least one out");
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{key, node};
    use proptest::prelude::*;

    fn typed(line: &str) -> Result<Vec<Action>, String> {
        let nodes = ["A", "B", "C", "D", "E"].map(node);
        let context = Context { client: "alice", node: &node("A"), nodes: &nodes };
        parse(line, &context).map_err(|error| error.0)
    }

    fn put(client: &str, at: &str, name: &str, value: &str) -> Vec<Action> {
        let operation = ClientOperation::Put { key: key(name), value: value.into(), informed: false };
        vec![Action::Client { client: client.into(), node: node(at), operation, options: RequestOptions::default() }]
    }

    #[test]
    fn a_client_asks_the_chosen_node_unless_the_line_says_otherwise() {
        for (line, meant) in [
            ("put cart milk", put("alice", "A", "cart", "milk")),
            ("  PUT cart   milk, eggs ", put("alice", "A", "cart", "milk, eggs")),
            ("bob: put cart milk", put("bob", "A", "cart", "milk")),
            ("put cart milk @c", put("alice", "C", "cart", "milk")),
            ("put user:7 a@b", put("alice", "A", "user:7", "a@b")),
            ("set cart x: y", put("alice", "A", "cart", "x: y")),
        ] {
            assert_eq!(typed(line), Ok(meant), "{line}");
        }
    }

    #[test]
    fn faults_are_commands_too() {
        let cut = |from, to| faults::link(&node(from), &node(to), true, 0);
        let mended = |from, to| faults::link(&node(from), &node(to), false, 0);
        for (line, meant) in [
            ("crash B", vec![Action::Crash { node: node("B"), disk: DiskFate::Kept }]),
            ("crash b lose-disk", vec![Action::Crash { node: node("B"), disk: DiskFate::Lost }]),
            ("stop A, B", vec![Action::Stop { node: node("A") }, Action::Stop { node: node("B") }]),
            ("restart B", vec![Action::Restart { node: node("B") }]),
            ("cut A D", vec![cut("A", "D"), cut("D", "A")]),
            ("cut A > D", vec![cut("A", "D")]),
            ("cut A->D", vec![cut("A", "D")]),
            ("split A B", vec![Action::Partition { groups: vec![vec![node("A"), node("B")]] }]),
            ("split A | B C", vec![Action::Partition { groups: vec![vec![node("A")], vec![node("B"), node("C")]] }]),
            ("heal", vec![Action::Heal]),
            ("heal A D", vec![mended("A", "D"), mended("D", "A")]),
            ("add", vec![Action::Add]),
        ] {
            assert_eq!(typed(line), Ok(meant), "{line}");
        }
    }

    #[test]
    fn an_error_says_what_was_wrong_and_what_would_be_right() {
        for (line, part) in [
            ("", "for example: put cart milk"),
            ("fetch cart", "“fetch” is no command"),
            ("put", "put what?"),
            ("put cart", "put cart what?"),
            ("get", "get which key?"),
            ("get cart milk", "takes one key"),
            ("eve: get cart", "there are alice, bob, carol"),
            ("get cart @Z", "there are A to E"),
            ("crash", "which node?"),
            ("crash Q", "there is no node “Q”"),
            ("cut A A", "two different ends"),
            ("cut A", "two different ends"),
            ("split", "at least one node"),
            ("split A | A", "only be on one side"),
            ("split A B C D E", "leave at least one out"),
            ("add F", "type add alone"),
        ] {
            let error = typed(line).expect_err(line);
            assert!(error.contains(part), "{line}: {error}");
        }
        assert!(typed(&format!("get {}", "k".repeat(1_025))).expect_err("too long").contains("1 to 1024 bytes"));
    }

    proptest! {
        #[test]
        fn whatever_is_typed_is_answered(line in any::<String>()) {
            drop(typed(&line));
        }

        #[test]
        fn whatever_follows_a_command_is_answered(
            word in "put|get|del|crash|stop|restart|cut|split|heal|add",
            rest in "[A-Fa-f@>|, ]{0,12}",
        ) {
            if let Err(error) = typed(&format!("{word} {rest}")) {
                prop_assert!(!error.is_empty());
            }
        }
    }
}
