//! The simulated cluster for JavaScript: a page, a Worker, Node. Thin: it turns plain objects into actions of the
//! simulated world and its pictures into plain objects; it decides nothing, and gives no number that JavaScript cannot hold.

mod bench;
mod options;
mod types;

use std::time::Duration;

use quorate_core::event::Event;
use quorate_core::id::{Key, NodeId};
use quorate_core::sim::{self, Action, ClientOperation, RequestOptions, World};
use serde::Serialize;
use wasm_bindgen::prelude::*;

use options::{Asking, LinkOptions, NewCluster, Options};

/// Events that are kept for [`Cluster::events`]; the oldest go first.
const EVENTS_MAX: usize = 100_000;
/// Longest span that one call runs, in milliseconds: a day.
const RUN_MS_MAX: f64 = 86_400_000.0;

/// A simulated cluster. The same setting and calls give the same run, everywhere.
#[wasm_bindgen]
#[derive(Clone)]
pub struct Cluster {
    world: World,
    events: Vec<Event>,
    /// How many events came before the first that is kept.
    forgotten: usize,
}

#[wasm_bindgen]
impl Cluster {
    /// A cluster whose nodes start at once. Every option has a default.
    ///
    /// # Errors
    /// An option that is unknown or out of range.
    #[wasm_bindgen(constructor)]
    pub fn new(
        #[wasm_bindgen(unchecked_optional_param_type = "ClusterOptions")] options: JsValue,
    ) -> Result<Self, JsError> {
        let setting = read::<NewCluster>(options)?.setting().map_err(|reason| JsError::new(&reason))?;
        Ok(Self { world: World::new(&setting), events: Vec::new(), forgotten: 0 })
    }

    /// The moment it has reached, in milliseconds since it began.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn now(&self) -> f64 {
        Duration::from_nanos(self.world.now().0).as_secs_f64() * 1_000.0
    }

    /// Lets so many milliseconds pass.
    ///
    /// # Errors
    /// A span that is no number from 0 to a day.
    pub fn run(&mut self, ms: f64) -> Result<(), JsError> {
        if !(0.0..=RUN_MS_MAX).contains(&ms) {
            return Err(JsError::new(&format!("run takes 0 to {RUN_MS_MAX} milliseconds, not {ms}")));
        }
        self.world.run_until(self.world.now() + Duration::from_secs_f64(ms / 1_000.0));
        self.collect_events();
        Ok(())
    }

    /// Lets the next thing happen; gives its moment in milliseconds, or undefined if nothing is left to happen.
    pub fn step(&mut self) -> Option<f64> {
        self.world.step()?;
        self.collect_events();
        Some(self.now())
    }

    /// A client writes a text. Gives the number of the operation in [`Cluster::view`]: the answer takes simulated time.
    ///
    /// # Errors
    /// An unknown node, a bad key, an unknown option.
    pub fn put(
        &mut self,
        node: &str,
        key: &str,
        value: String,
        #[wasm_bindgen(unchecked_optional_param_type = "RequestOptions")] options: JsValue,
    ) -> Result<f64, JsError> {
        let asking = read::<Asking>(options)?;
        let operation = ClientOperation::Put { key: key_of(key)?, value, informed: asking.informed };
        self.ask(node, asking, operation)
    }

    /// A client reads. As with [`Cluster::put`].
    ///
    /// # Errors
    /// An unknown node, a bad key, an unknown option.
    pub fn get(
        &mut self,
        node: &str,
        key: &str,
        #[wasm_bindgen(unchecked_optional_param_type = "RequestOptions")] options: JsValue,
    ) -> Result<f64, JsError> {
        let operation = ClientOperation::Get { key: key_of(key)? };
        self.ask(node, read(options)?, operation)
    }

    /// A client deletes. As with [`Cluster::put`].
    ///
    /// # Errors
    /// An unknown node, a bad key, an unknown option.
    pub fn delete(
        &mut self,
        node: &str,
        key: &str,
        #[wasm_bindgen(unchecked_optional_param_type = "RequestOptions")] options: JsValue,
    ) -> Result<f64, JsError> {
        let asking = read::<Asking>(options)?;
        let operation = ClientOperation::Delete { key: key_of(key)?, informed: asking.informed };
        self.ask(node, asking, operation)
    }

    /// Ends a process without a word.
    ///
    /// # Errors
    /// An unknown node or option.
    pub fn crash(
        &mut self,
        node: &str,
        #[wasm_bindgen(unchecked_optional_param_type = "CrashOptions")] options: JsValue,
    ) -> Result<(), JsError> {
        let node = self.node(node)?;
        let disk = read::<options::CrashOptions>(options)?.disk;
        self.apply(&Action::Crash { node, disk });
        Ok(())
    }

    /// Tells a process to stop.
    ///
    /// # Errors
    /// An unknown node.
    pub fn stop(&mut self, node: &str) -> Result<(), JsError> {
        let node = self.node(node)?;
        self.apply(&Action::Stop { node });
        Ok(())
    }

    /// Starts a process that ended.
    ///
    /// # Errors
    /// An unknown node.
    pub fn restart(&mut self, node: &str) -> Result<(), JsError> {
        let node = self.node(node)?;
        self.apply(&Action::Restart { node });
        Ok(())
    }

    /// Lets a new node join.
    pub fn add(&mut self) {
        self.apply(&Action::Add);
    }

    /// Lets messages pass only within the groups; nodes in none form one more.
    ///
    /// # Errors
    /// Something that is no list of lists of nodes, or an unknown node.
    pub fn partition(
        &mut self,
        #[wasm_bindgen(unchecked_param_type = "string[][]")] groups: JsValue,
    ) -> Result<(), JsError> {
        let groups: Vec<Vec<String>> = serde_wasm_bindgen::from_value(groups).map_err(|error| {
            JsError::new(&format!("groups are lists of node names, like [[\"A\"], [\"B\"]]: {error}"))
        })?;
        let named = groups.iter().map(|group| group.iter().map(|name| self.node(name)).collect());
        let groups = named.collect::<Result<Vec<Vec<NodeId>>, JsError>>()?;
        self.apply(&Action::Partition { groups });
        Ok(())
    }

    /// Changes one direction of one link.
    ///
    /// # Errors
    /// An unknown node or option, a loss outside 0 to 1, or a latency that is none.
    pub fn link(
        &mut self,
        from: &str,
        to: &str,
        #[wasm_bindgen(unchecked_param_type = "LinkOptions")] options: JsValue,
    ) -> Result<(), JsError> {
        let options = read::<LinkOptions>(options)?;
        let loss_per_million = options::per_million(options.loss).map_err(|reason| JsError::new(&reason))?;
        let latency = options::latency(options.latency).map_err(|reason| JsError::new(&reason))?;
        let (from, to) = (self.node(from)?, self.node(to)?);
        self.apply(&Action::Link { from, to, cut: options.down, loss_per_million, latency });
        Ok(())
    }

    /// Makes every link as it was at the beginning.
    pub fn heal(&mut self) {
        self.apply(&Action::Heal);
    }

    /// The cluster at this moment.
    ///
    /// # Errors
    /// A number too large for JavaScript.
    #[wasm_bindgen(unchecked_return_type = "ClusterView")]
    pub fn view(&self) -> Result<JsValue, JsError> {
        plain(&self.world.view())
    }

    /// Where a key lives and what each node holds of it; null before there is a ring.
    ///
    /// # Errors
    /// A bad key.
    #[wasm_bindgen(unchecked_return_type = "KeyView | null")]
    pub fn key(&self, key: &str) -> Result<JsValue, JsError> {
        plain(&self.world.key_view(&key_of(key)?))
    }

    /// What happened from event number `since` on, and the number to ask from next. The newest 100,000 are kept.
    ///
    /// # Errors
    /// A number too large for JavaScript.
    #[wasm_bindgen(unchecked_return_type = "EventPage")]
    pub fn events(&self, since: Option<u32>) -> Result<JsValue, JsError> {
        #[derive(Serialize)]
        struct Page<'a> {
            next: usize,
            events: &'a [Event],
        }
        let since = usize::try_from(since.unwrap_or(0)).unwrap_or(usize::MAX);
        let skipped = since.saturating_sub(self.forgotten).min(self.events.len());
        plain(&Page { next: self.forgotten + self.events.len(), events: &self.events[skipped..] })
    }

    /// A cluster that goes on from here by itself.
    #[must_use]
    pub fn fork(&self) -> Self {
        self.clone()
    }

    /// The hash of everything that happened so far: 16 hexadecimal digits.
    #[must_use]
    pub fn hash(&self) -> String {
        hexadecimal(self.world.hash())
    }
}

impl Cluster {
    fn apply(&mut self, action: &Action) {
        self.world.apply(action);
        self.collect_events();
    }

    fn ask(&mut self, node: &str, asking: Asking, operation: ClientOperation) -> Result<f64, JsError> {
        let node = self.node(node)?;
        self.apply(&Action::Client { client: asking.client, node, operation, options: RequestOptions::default() });
        let operations = self.world.view().operations;
        let newest = operations.last().ok_or_else(|| JsError::new("the operation was not begun"))?;
        // Operations are counted from one: no run has 2^32 of them.
        Ok(f64::from(u32::try_from(newest.id).unwrap_or(u32::MAX)))
    }

    fn node(&self, name: &str) -> Result<NodeId, JsError> {
        let nodes = self.world.view().nodes;
        let found = nodes.iter().find(|node| node.node.as_str() == name);
        found.map(|node| node.node.clone()).ok_or_else(|| {
            let names: Vec<_> = nodes.iter().map(|node| node.node.as_str()).collect();
            JsError::new(&format!("there is no node {name:?}; there are {}", names.join(", ")))
        })
    }

    fn collect_events(&mut self) {
        self.events.append(&mut self.world.take_events());
        let excess = self.events.len().saturating_sub(EVENTS_MAX);
        self.events.drain(..excess);
        self.forgotten += excess;
    }
}

/// The hashes of the runs that `count` seeds make, from `first_seed` on: the same natively and as WebAssembly.
#[wasm_bindgen]
#[must_use]
pub fn hashes(first_seed: u32, count: u32) -> Vec<String> {
    let first = u64::from(first_seed);
    (first..first + u64::from(count)).map(|seed| hexadecimal(sim::fingerprint(seed))).collect()
}

fn hexadecimal(hash: u64) -> String {
    format!("{hash:016x}")
}

fn key_of(key: &str) -> Result<Key, JsError> {
    Key::new(key).map_err(|error| JsError::new(&error.to_string()))
}

/// Reads an options object; undefined and null are one without any.
fn read<T: Options>(value: JsValue) -> Result<T, JsError> {
    if value.is_undefined() || value.is_null() {
        return Ok(T::default());
    }
    let Some(object) = value.dyn_ref::<js_sys::Object>() else {
        return Err(JsError::new(&format!("{} are an object with any of {}", T::WHAT, T::NAMES.join(", "))));
    };
    let names: Vec<String> = js_sys::Object::keys(object).iter().filter_map(|name| name.as_string()).collect();
    options::check_names::<T>(&names).map_err(|reason| JsError::new(&reason))?;
    serde_wasm_bindgen::from_value(value).map_err(|error| JsError::new(&format!("{}: {error}", T::WHAT)))
}

/// A value as plain objects, lists, strings and numbers.
fn plain(value: &impl Serialize) -> Result<JsValue, JsError> {
    let serializer = serde_wasm_bindgen::Serializer::json_compatible();
    value.serialize(&serializer).map_err(|error| JsError::new(&error.to_string()))
}
