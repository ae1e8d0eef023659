//! The `quorate` command. Reads its arguments and leaves the work to the library.

fn main() {}
