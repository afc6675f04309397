//! Runs one call of a component in an instance of its own, within bounds.

use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use wasmtime::component::Linker;
use wasmtime::{Config, Engine, OptLevel, RegallocAlgorithm, Store};

use super::contract::{Asked, Linked};
use super::failure::Failure;
use super::limiter::MEMORY_BYTES_MAX;
use super::outside::{self, Outside};
use crate::{Error, Result};

/// The stack of a component, in bytes.
const STACK_BYTES_MAX: usize = 512 << 10;
/// How often the deadline of a running component is looked at.
const TICK: Duration = Duration::from_millis(10);
/// Handles to resources that one instance may hold.
const HANDLES_MAX: usize = 1000;

/// What one call may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Wasm instructions, roughly. Unlike the deadline, it ends the same call at the same place.
    pub(super) fuel: u64,
    pub(super) deadline: Duration,
    /// What the host copies out of the component at a time, in bytes.
    pub(super) answer_bytes: usize,
}

/// For decisions and `describe`; a decision of the embedded component takes some thousand units.
pub(super) const DECISION: Bounds = Bounds {
    fuel: 1_000_000_000,
    deadline: Duration::from_millis(200),
    answer_bytes: 1 << 20,
};

/// For a configuration, which is read once, and whose plan names every setting of every database.
pub(super) const VALIDATION: Bounds = Bounds {
    fuel: 20_000_000_000,
    deadline: Duration::from_secs(2),
    answer_bytes: 16 << 20,
};

/// What one call took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    pub(super) fuel: u64,
    pub(super) memory_bytes: usize,
}

/// The compiler and the imports that all components share.
pub(super) struct Sandbox {
    pub(super) engine: Engine,
    pub(super) linker: Linker<Outside>,
    running: Mutex<usize>,
    started: Condvar,
}

impl Sandbox {
    /// The sandbox of this process: one compiler, one thread that watches deadlines.
    pub(super) fn get() -> Result<&'static Self> {
        static SANDBOX: OnceLock<std::result::Result<Sandbox, String>> = OnceLock::new();
        static TICKER: OnceLock<std::result::Result<(), String>> = OnceLock::new();
        let fail = |message: &String| {
            Error::unavailable(format!("cannot set up the policy sandbox: {message}"))
        };
        let sandbox = SANDBOX
            .get_or_init(|| Self::new().map_err(|error| format!("{error:#}")))
            .as_ref()
            .map_err(fail)?;
        TICKER
            .get_or_init(|| {
                thread::Builder::new()
                    .name("lockkeeper-tick".into())
                    .spawn(|| sandbox.tick())
                    .map(drop)
                    .map_err(|error| error.to_string())
            })
            .as_ref()
            .map_err(fail)?;
        Ok(sandbox)
    }

    fn new() -> wasmtime::Result<Self> {
        let mut config = Config::new();
        config
            // A component is compiled whenever a process starts, and runs for microseconds at a
            // time.
            .cranelift_opt_level(OptLevel::None)
            .cranelift_regalloc_algorithm(RegallocAlgorithm::SinglePass)
            .consume_fuel(true)
            .epoch_interruption(true)
            .wasm_backtrace_max_frames(None)
            .max_wasm_stack(STACK_BYTES_MAX)
            .memory_reservation(u64::try_from(MEMORY_BYTES_MAX)?)
            .memory_reservation_for_growth(0)
            .concurrency_support(false)
            .shared_memory(false)
            .wasm_memory64(false)
            .wasm_relaxed_simd(false);
        let engine = Engine::new(&config)?;
        let mut linker = Linker::new(&engine);
        outside::link(&mut linker)?;
        Ok(Self {
            engine,
            linker,
            running: Mutex::new(0),
            started: Condvar::new(),
        })
    }

    /// Calls a component in a fresh instance, which is dropped afterwards.
    ///
    /// Blocks; where an asynchronous runtime drives this thread, a component that prints panics.
    pub(super) fn call<T>(
        &self,
        policy: &Linked,
        bounds: Bounds,
        outside: Outside,
        call: impl FnOnce(&dyn Asked, &mut Store<Outside>) -> wasmtime::Result<T>,
    ) -> (std::result::Result<T, Failure>, Usage) {
        let _running = self.run();
        let mut store = Store::new(&self.engine, outside);
        store.limiter(|outside| &mut outside.limiter);
        store.set_hostcall_fuel(bounds.answer_bytes);
        store.set_max_component_handles(HANDLES_MAX);
        store.set_epoch_deadline(ticks(bounds.deadline));
        let result = store
            .set_fuel(bounds.fuel)
            .and_then(|()| policy.instantiate(&mut store))
            .and_then(|asked| call(&*asked, &mut store));
        let usage = Usage {
            fuel: bounds.fuel.saturating_sub(store.get_fuel().unwrap_or(0)),
            memory_bytes: store.data().limiter.memory_bytes(),
        };
        let result = result.map_err(|error| Failure::new(&error, bounds, store.data()));
        (result, usage)
    }

    /// Advances the epoch while a component runs; sleeps while none does.
    fn tick(&self) {
        loop {
            let running = self.lock();
            let idle = self.started.wait_while(running, |running| *running == 0);
            drop(idle);
            thread::sleep(TICK);
            self.engine.increment_epoch();
        }
    }

    fn run(&self) -> Running<'_> {
        let mut running = self.lock();
        *running += 1;
        if *running == 1 {
            self.started.notify_one();
        }
        Running(self)
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A component is running for as long as this lives.
struct Running<'a>(&'a Sandbox);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        *self.0.lock() -= 1;
    }
}

/// The first tick may come at once, so that one more is needed to wait that long.
fn ticks(deadline: Duration) -> u64 {
    let ticks = deadline.as_nanos().div_ceil(TICK.as_nanos());
    u64::try_from(ticks).unwrap_or(u64::MAX).saturating_add(1)
}
