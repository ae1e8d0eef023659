//! Quorate.

fn main() {}
