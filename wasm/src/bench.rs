//! A steady load on an undisturbed cluster, for whoever measures how fast the simulated world is as WebAssembly. Has no
//! clock: JavaScript has one.

use std::time::Duration;

use quorate_core::sim;
use wasm_bindgen::prelude::*;

/// A cluster under load: 10,000 keys, 100 operations a second, no events recorded.
#[wasm_bindgen]
pub struct Bench(sim::Bench);

#[wasm_bindgen]
impl Bench {
    /// A cluster of 1 to 64 nodes in which every key has been written once.
    ///
    /// # Errors
    /// Another number of nodes.
    #[wasm_bindgen(constructor)]
    pub fn new(nodes: u8) -> Result<Self, JsError> {
        if !(1..=64).contains(&nodes) {
            return Err(JsError::new(&format!("a bench has 1 to 64 nodes, not {nodes}")));
        }
        Ok(Self(sim::Bench::new(nodes.into())))
    }

    /// Lets the load go on for so many simulated seconds.
    pub fn run(&mut self, seconds: u32) {
        self.0.run(Duration::from_secs(seconds.into()));
    }

    /// Things that happened under load so far: arrivals, wake-ups, disks that were done.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn things(&self) -> f64 {
        // Exact up to 2^53: weeks of the fastest run.
        self.0.things() as f64
    }
}
