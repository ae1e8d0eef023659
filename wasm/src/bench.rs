//! A steady load on an undisturbed cluster, and members that do nothing but gossip, for whoever measures how fast the simulated world is as WebAssembly. Has no
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

/// Members that do nothing but gossip.
#[wasm_bindgen]
pub struct Gossip(sim::gossip::Cluster);

#[wasm_bindgen]
impl Gossip {
    /// A cluster of 2 to 10,000 members that know each other.
    ///
    /// # Errors
    /// Another number of members.
    #[wasm_bindgen(constructor)]
    pub fn new(nodes: u32) -> Result<Self, JsError> {
        if !(2..=10_000).contains(&nodes) {
            return Err(JsError::new(&format!("2 to 10,000 members gossip, not {nodes}")));
        }
        let setting = sim::gossip::Setting { nodes, loss_per_million: 0, seed: 0, lifeguard: true };
        Ok(Self(sim::gossip::Cluster::new(setting)))
    }

    /// Lets so many simulated seconds pass.
    pub fn run(&mut self, seconds: u32) {
        self.0.run(Duration::from_secs(seconds.into()));
    }

    /// Arrivals and wake-ups so far.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn happenings(&self) -> f64 {
        // Exact up to 2^53: weeks of the fastest run.
        self.0.happenings() as f64
    }
}
