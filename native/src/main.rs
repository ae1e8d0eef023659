//! The `quorate` command. Everything it does is in the library.

/// Requests and the simulated world allocate much and little at a time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    quorate::cli::run()
}
