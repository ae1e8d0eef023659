//! The link to the Worker in which the world runs: commands out, updates in, as bytes whose buffers change hands. Keeps
//! commands until the Worker listens; never waits for it.

use js_sys::{Array, Uint8Array};
use quorate_core::sim::player::{Command, Update};
use wasm_bindgen::prelude::*;
use web_sys::{MessageEvent, Worker, WorkerOptions, WorkerType};

/// The script that the build lays beside the page.
const SCRIPT: &str = "./worker_loader.js";

/// The link.
pub struct Link {
    worker: Worker,
    /// Commands said before the Worker listened; nothing once it does.
    waiting: Option<Vec<Command>>,
    // Dropping these would take the handlers away.
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_error: Closure<dyn FnMut(JsValue)>,
}

impl Link {
    /// Starts the Worker. `heard` is called with every update, or with a sentence about what went wrong.
    ///
    /// # Errors
    /// The browser's reason for not starting it.
    pub fn open(heard: impl Fn(Result<Update, String>) + Clone + 'static) -> Result<Self, String> {
        let options = WorkerOptions::new();
        options.set_type(WorkerType::Module);
        let worker = Worker::new_with_options(SCRIPT, &options).map_err(|error| format!("{error:?}"))?;
        let fail = heard.clone();
        let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |message: MessageEvent| {
            let bytes = Uint8Array::new(&message.data()).to_vec();
            heard(postcard::from_bytes(&bytes).map_err(|error| format!("an update that cannot be read: {error}")));
        });
        let on_error = Closure::<dyn FnMut(JsValue)>::new(move |_| {
            fail(Err("the simulated cluster stopped unexpectedly; reload the page to begin again".into()));
        });
        worker.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        worker.set_onerror(Some(on_error.as_ref().unchecked_ref()));
        Ok(Self { worker, waiting: Some(Vec::new()), _on_message: on_message, _on_error: on_error })
    }

    /// Says a command to the world, or keeps it until the Worker listens.
    pub fn send(&mut self, command: Command) {
        match &mut self.waiting {
            Some(waiting) => waiting.push(command),
            None => self.post(&command),
        }
    }

    /// The Worker has spoken, so it listens: what waited is said.
    pub fn is_listening(&mut self) {
        for command in self.waiting.take().unwrap_or_default() {
            self.post(&command);
        }
    }

    fn post(&self, command: &Command) {
        let bytes = postcard::to_allocvec(command).expect("every command has a wire form");
        let bytes = Uint8Array::from(bytes.as_slice());
        let transfer = Array::of1(&bytes.buffer());
        self.worker.post_message_with_transfer(&bytes.buffer(), &transfer).expect("a fresh buffer can be handed over");
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.worker.terminate();
    }
}
