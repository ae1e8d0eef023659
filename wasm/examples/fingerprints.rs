//! Prints the hashes of the runs that seeds make, natively: `fingerprints FIRST_SEED COUNT`. The test of the WebAssembly
//! package compares them with its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    let numbers: Vec<u32> = std::env::args().skip(1).filter_map(|number| number.parse().ok()).collect();
    let [first_seed, count] = numbers[..] else {
        eprintln!("usage: fingerprints FIRST_SEED COUNT");
        return ExitCode::FAILURE;
    };
    for hash in quorate_wasm::hashes(first_seed, count) {
        println!("{hash}");
    }
    ExitCode::SUCCESS
}
