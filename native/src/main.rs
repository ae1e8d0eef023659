//! The `quorate` command. Everything it does is in the library.

fn main() -> std::process::ExitCode {
    quorate::cli::run()
}
