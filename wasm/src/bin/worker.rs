//! The Worker of the page: a simulated cluster that runs beside the page, so that the page never waits for it. Takes
//! commands and gives updates as bytes whose buffers change hands; decides nothing itself, see `quorate_core::sim::player`.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use js_sys::{Array, Uint8Array};
use quorate_core::sim::Setting;
use quorate_core::sim::player::{Command, Player};
use wasm_bindgen::prelude::*;
use web_sys::{DedicatedWorkerGlobalScope, MessageEvent, Performance};

/// Between two turns, in milliseconds: a frame of a 60 Hz screen.
const TURN_INTERVAL_MS: i32 = 16;
/// Longest turn, in milliseconds, so that commands are never kept waiting.
const TURN_BUDGET_MS: f64 = 12.0;
/// Updates above this many bytes come less often: reading one costs the page a part of its frame.
const LARGE_UPDATE_BYTES: usize = 32 * 1_024;
/// Between two large updates, in milliseconds.
const LARGE_UPDATE_INTERVAL_MS: f64 = 50.0;

struct Shell {
    player: Player,
    scope: DedicatedWorkerGlobalScope,
    performance: Performance,
    last_turn_ms: f64,
    /// No update is due before this moment, unless a person waits for it.
    next_update_ms: f64,
    timer_is_set: bool,
    wake: Option<Closure<dyn FnMut()>>,
}

impl Shell {
    /// Lets time pass, tells the page, and arranges for the next turn if there is one.
    fn turn(&mut self) {
        let began_ms = self.performance.now();
        let elapsed_ms = (began_ms - self.last_turn_ms).max(0.0);
        self.last_turn_ms = began_ms;
        let performance = &self.performance;
        self.player
            .turn(Duration::from_secs_f64(elapsed_ms / 1_000.0), || performance.now() - began_ms > TURN_BUDGET_MS);
        if began_ms >= self.next_update_ms {
            self.publish();
        }
        self.set_timer();
    }

    fn publish(&mut self) {
        let Some(update) = self.player.update() else { return };
        let bytes = postcard::to_allocvec(&update).expect("every update has a wire form");
        let pause_ms = if bytes.len() > LARGE_UPDATE_BYTES { LARGE_UPDATE_INTERVAL_MS } else { 0.0 };
        self.next_update_ms = self.performance.now() + pause_ms;
        let bytes = Uint8Array::from(bytes.as_slice());
        let transfer = Array::of1(&bytes.buffer());
        self.scope.post_message_with_transfer(&bytes.buffer(), &transfer).expect("a fresh buffer can be handed over");
    }

    /// Time that passed without turns (a paused world) is not made up for.
    fn wake_up(&mut self) {
        if !self.timer_is_set {
            self.last_turn_ms = self.performance.now();
            self.set_timer();
        }
    }

    fn set_timer(&mut self) {
        self.timer_is_set = !self.player.is_idle();
        if let (true, Some(wake)) = (self.timer_is_set, &self.wake) {
            self.scope
                .set_timeout_with_callback_and_timeout_and_arguments_0(wake.as_ref().unchecked_ref(), TURN_INTERVAL_MS)
                .expect("a worker has timers");
        }
    }
}

fn receive(shell: &Rc<RefCell<Shell>>, message: &MessageEvent) {
    let bytes = Uint8Array::new(&message.data()).to_vec();
    match postcard::from_bytes::<Command>(&bytes) {
        Ok(command) => {
            let mut shell = shell.borrow_mut();
            shell.player.command(command);
            shell.publish();
            shell.wake_up();
        }
        Err(error) => web_sys::console::error_1(&format!("a command that cannot be read: {error}").into()),
    }
}

fn main() {
    let scope: DedicatedWorkerGlobalScope = js_sys::global().unchecked_into();
    let performance = scope.performance().expect("a worker has a clock");
    let shell = Rc::new(RefCell::new(Shell {
        player: Player::new(&Setting::default()),
        scope: scope.clone(),
        last_turn_ms: performance.now(),
        performance,
        next_update_ms: 0.0,
        timer_is_set: false,
        wake: None,
    }));
    let waking = Rc::clone(&shell);
    shell.borrow_mut().wake = Some(Closure::new(move || waking.borrow_mut().turn()));
    let receiving = Rc::clone(&shell);
    let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |message| receive(&receiving, &message));
    scope.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
    // The worker lives as long as the page: its one handler is never dropped.
    on_message.forget();
    // The first message tells the page that commands are heard from now on.
    let mut shell = shell.borrow_mut();
    shell.publish();
    shell.wake_up();
}
