//! Options from the environment and from a file: each entry becomes the flag of its name and goes through the parser of
//! the flags. Never looks at what an option means.

use std::path::{Path, PathBuf};

use clap::{CommandFactory, Parser};
use toml::{Table, Value};

use super::options::Options;

/// Prefix of the variables that are named after flags.
const PREFIX: &str = "QUORATE_";

/// Variables that are understood without the prefix, as other stores of this kind have them: the flag that each stands for,
/// and what comes before the value there.
const PLAIN_VARIABLES: [(&str, &str, &str); 7] = [
    ("NODE_ID", "node-id", ""),
    ("SEED_NODE", "seed-node", ""),
    ("JOIN_ADDR", "seed-node", ""),
    ("HTTP_PORT", "port", ""),
    ("KV_PORT", "kv-port", ""),
    ("PARTITION_COUNT", "placement", "partitions:"),
    ("REPLICATION_FACTOR", "replication-factor", ""),
];

/// Why the environment or the file cannot be used. Nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A variable whose value is not understood.
    #[error("the environment variable {name} cannot be used: {reason}")]
    Variable {
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file cannot be read.
    #[error("the configuration file {} cannot be read: {reason}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The file is not TOML.
    #[error("the configuration file {} is not TOML: {reason}", path.display())]
    NotToml {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
    /// A key of the file that is not understood, or its value.
    #[error("the configuration file {} cannot be used: {key}: {reason}", path.display())]
    Entry {
        /// Which file.
        path: PathBuf,
        /// Which key.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// The parser of one entry.
#[derive(Parser)]
#[command(name = "quorate", disable_help_flag = true)]
struct Entry {
    #[command(flatten)]
    options: Options,
}

/// Options from environment variables, as handed in. An empty one says nothing.
///
/// # Errors
/// [`SourceError::Variable`].
pub fn from_environment(variables: impl IntoIterator<Item = (String, String)>) -> Result<Options, SourceError> {
    let names = flag_names();
    let mut prefixed = Options::default();
    let mut plain = Options::default();
    let mut bootstrap = false;
    for (name, value) in variables {
        // Compose files and scripts set what they do not mean to an empty text.
        if value.is_empty() {
            continue;
        }
        let error = |reason| SourceError::Variable { name: name.clone(), reason };
        if name == "BOOTSTRAP" {
            bootstrap = value.parse().map_err(|_| error(format!("it must be true or false, not {value:?}")))?;
        } else if let Some((_, flag, before)) = PLAIN_VARIABLES.iter().find(|(plain, ..)| *plain == name) {
            plain = parse(flag, &format!("{before}{value}")).map_err(error)?.or(plain);
        } else if let Some(flag) = name.strip_prefix(PREFIX).map(|flag| flag.to_ascii_lowercase().replace('_', "-"))
            && names.contains(&flag)
        {
            prefixed = parse(&flag, &value).map_err(error)?.or(prefixed);
        }
    }
    let mut options = prefixed.or(plain);
    if bootstrap {
        // An empty list is said, not silent: a seed of the file does not come through.
        options.seed_node = Some(Vec::new());
    }
    Ok(options)
}

/// Options from a TOML file.
///
/// # Errors
/// [`SourceError`], but not of a variable.
pub fn from_file(path: &Path) -> Result<Options, SourceError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| SourceError::Unreadable { path: path.into(), reason: error.to_string() })?;
    let table: Table = text
        .parse()
        .map_err(|error: toml::de::Error| SourceError::NotToml { path: path.into(), reason: first_line(&error) })?;
    let names = flag_names();
    let mut options = Options::default();
    for (key, value) in table {
        let error = |reason| SourceError::Entry { path: path.into(), key: key.clone(), reason };
        let flag = key.replace('_', "-");
        if !names.contains(&flag) {
            return Err(error(format!("there is no such key; the keys are {}", names.join(", "))));
        }
        let text = flag_value(&value).map_err(error)?;
        let parsed = match &value {
            // A tag or a strategy is a flag of its own for each entry of the table.
            Value::Table(table) => parse_all(&flag, &tags(table).map_err(error)?),
            _ => parse(&flag, &text),
        };
        options = parsed.map_err(error)?.or(options);
    }
    Ok(options)
}

/// The names of all flags, without the dashes, in alphabetical order.
fn flag_names() -> Vec<String> {
    let command = Entry::command();
    let mut names: Vec<String> = command
        .get_arguments()
        .flat_map(|argument| argument.get_long_and_visible_aliases().unwrap_or_default())
        .map(String::from)
        .chain(["seed-nodes".into()])
        .collect();
    names.sort_unstable();
    names
}

fn parse(flag: &str, value: &str) -> Result<Options, String> {
    parse_all(flag, &[value.to_owned()])
}

fn parse_all(flag: &str, values: &[String]) -> Result<Options, String> {
    let arguments = values.iter().map(|value| format!("--{flag}={value}"));
    let entry = Entry::try_parse_from(["quorate".to_owned()].into_iter().chain(arguments));
    entry.map(|entry| entry.options).map_err(|error| first_line(&error).trim_start_matches("error: ").to_owned())
}

/// A TOML value as the text that a flag takes.
fn flag_value(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Boolean(value) => Ok(value.to_string()),
        Value::Array(items) => {
            let texts: Result<Vec<_>, _> = items.iter().map(flag_value).collect();
            texts.map(|texts| texts.join(","))
        }
        Value::Table(_) => Ok(String::new()),
        Value::Float(number) => Err(format!("{number} is neither a text, a whole number nor a list")),
        Value::Datetime(date) => Err(format!("{date} is neither a text, a whole number nor a list")),
    }
}

fn tags(table: &Table) -> Result<Vec<String>, String> {
    table.iter().map(|(name, value)| flag_value(value).map(|value| format!("{name}={value}"))).collect()
}

fn first_line(error: &dyn std::fmt::Display) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use quorate_core::config::Strategy;

    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Result<Options, String> {
        let owned = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        from_environment(owned).map_err(|error| error.to_string())
    }

    fn file(text: &str) -> Result<Options, String> {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("quorate.toml");
        std::fs::write(&path, text).expect("writes");
        from_file(&path).map_err(|error| error.to_string())
    }

    fn seeds(options: &Options) -> Vec<&str> {
        options.seed_node.iter().flatten().map(|seed| seed.0.as_str()).collect()
    }

    #[test]
    fn a_prefixed_variable_beats_a_plain_one_whatever_the_order() {
        for order in [[("QUORATE_PORT", "1"), ("HTTP_PORT", "2")], [("HTTP_PORT", "2"), ("QUORATE_PORT", "1")]] {
            assert_eq!(environment(&order).expect("good").port, Some(1));
        }
        assert_eq!(environment(&[("HTTP_PORT", "2")]).expect("good").port, Some(2));
        assert_eq!(environment(&[("HTTP_PORT", "2"), ("QUORATE_PORT", "")]).expect("good").port, Some(2));
        assert_eq!(environment(&[("QUORATE_ENDPOINT", "x"), ("PATH", "y")]).expect("not ours").port, None);
    }

    #[test]
    fn bootstrap_means_no_seed_even_where_another_source_has_one() {
        let options = environment(&[("BOOTSTRAP", "true"), ("SEED_NODE", "a:1")]).expect("good");
        let with_file = options.or(file("seed-node = 'b:1'").expect("good"));
        assert_eq!(seeds(&with_file), Vec::<&str>::new());
        assert_eq!(seeds(&environment(&[("BOOTSTRAP", "false"), ("JOIN_ADDR", "a:1")]).expect("good")), ["a:1"]);
    }

    #[test]
    fn a_number_of_partitions_is_a_placement() {
        let placement = environment(&[("PARTITION_COUNT", "64")]).expect("good").placement;
        assert_eq!(placement.map(|placement| placement.to_string()).as_deref(), Some("partitions:64"));
        let message = environment(&[("PARTITION_COUNT", "63")]).expect_err("refused");
        assert!(message.contains("PARTITION_COUNT") && message.contains("a power"), "{message}");
    }

    #[test]
    fn a_file_has_lists_numbers_booleans_and_tables() {
        let text = "seed-nodes = ['a:1', 'b:2']\nport = 81\ngossip = false\nprobe_timeout = '90ms'\n\
                    [tag]\nrack = 7\nrow = 'b'";
        let options = file(text).expect("good");
        assert_eq!(seeds(&options), ["a:1", "b:2"]);
        assert_eq!((options.port, options.gossip), (Some(81), Some(false)));
        assert_eq!(options.tag, Some(vec![("rack".into(), "7".into()), ("row".into(), "b".into())]));
    }

    #[test]
    fn strategies_come_from_every_source() {
        let expected = |entries: &[(&str, Strategy)]| {
            Some(entries.iter().map(|(prefix, strategy)| ((*prefix).to_owned(), *strategy)).collect::<Vec<_>>())
        };
        let one = environment(&[("QUORATE_STRATEGY", "session/=lww")]).expect("good");
        assert_eq!(one.strategy, expected(&[("session/", Strategy::Lww)]));
        let both = expected(&[("", Strategy::Lww), ("cart/", Strategy::Siblings)]);
        assert_eq!(environment(&[("QUORATE_STRATEGY", "=lww,cart/=siblings")]).expect("good").strategy, both);
        for text in ["strategy = ['=lww', 'cart/=siblings']", "[strategy]\n'' = 'lww'\n'cart/' = 'siblings'"] {
            assert_eq!(file(text).expect("good").strategy, both, "{text}");
        }
        let message = file("strategy = 'newest'").expect_err("refused");
        assert!(message.contains("PREFIX=lww"), "{message}");
    }

    #[test]
    fn an_error_names_its_source_and_what_would_be_right() {
        let failed = |result: Result<Options, String>| result.expect_err("refused");
        for (message, parts) in [
            (failed(environment(&[("QUORATE_PORT", "0")])), vec!["QUORATE_PORT", "1..=65535"]),
            (failed(environment(&[("BOOTSTRAP", "maybe")])), vec!["BOOTSTRAP", "true or false"]),
            (failed(file("prot = 1")), vec!["quorate.toml", "prot", "port"]),
            (failed(file("port = 1.5")), vec!["quorate.toml", "port", "1.5"]),
            (failed(file("port = 'x'")), vec!["quorate.toml", "port", "'x'"]),
            (failed(file("port")), vec!["quorate.toml", "not TOML"]),
        ] {
            for part in parts {
                assert!(message.contains(part), "{message:?} must name {part:?}");
            }
            assert!(!message.contains('\n'), "one sentence: {message:?}");
        }
    }
}
