//! Running other programs, with errors that show the command line to try by hand.
//!
//! Never goes through a shell.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Runs the command with our own output. It gets no standard input, so that nothing waits for an answer in CI.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot start `{}`", line(command)))?;
    if !status.success() {
        bail!("`{}` failed ({status})", line(command));
    }
    Ok(())
}

/// Runs the command, shows its standard error and gives its standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start `{}`", line(command)))?;
    if !output.status.success() {
        bail!("`{}` failed ({})", line(command), output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{}` printed something that is not UTF-8", line(command)))
}

/// The command as a person would type it: programs by their name alone.
pub(crate) fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut line = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    for argument in command.get_args() {
        let argument = argument.to_string_lossy();
        let plain =
            !argument.is_empty() && argument.chars().all(|c| c.is_ascii_alphanumeric() || "-_=./:,@+".contains(c));
        line.push(' ');
        if plain {
            line.push_str(&argument);
        } else {
            line.push_str(&format!("'{argument}'"));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_it_would_be_typed() {
        let mut command = Command::new("/somewhere/cargo");
        command.args(["build", "--bin=worker", "two words", ""]);
        assert_eq!(line(&command), "cargo build --bin=worker 'two words' ''");
    }

    #[test]
    fn a_failure_names_the_command_and_its_status() {
        let error = run(Command::new("false").arg("--now")).expect_err("`false` fails").to_string();
        assert_eq!(error, "`false --now` failed (exit status: 1)");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = format!("{:#}", output(&mut Command::new("no-such-program")).expect_err("it does not exist"));
        assert!(error.starts_with("cannot start `no-such-program`: "), "{error}");
    }
}
