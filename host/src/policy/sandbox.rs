//! Runs one call of a component in an instance of its own, within bounds.

use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use wasmtime::component::Linker;
use wasmtime::{
    Config, Enabled, Engine, OptLevel, PoolingAllocationConfig, RegallocAlgorithm, Store,
};

use super::contract::{Asked, Linked};
use super::failure::Failure;
use super::limiter::{
    INSTANCES_MAX, MEMORIES_MAX, MEMORY_BYTES_MAX, TABLE_ELEMENTS_MAX, TABLES_MAX,
};
use super::outside::{self, Outside};
use crate::{Error, Result};

/// The stack of a component, in bytes.
const STACK_BYTES_MAX: usize = 512 << 10;
/// How often the deadline of a running component is looked at.
const TICK: Duration = Duration::from_millis(10);
/// Handles to resources that one instance may hold.
const HANDLES_MAX: usize = 1000;
/// Calls at a time in this process; more of them wait. Each has its place in the pool.
pub(super) const RUNNING_MAX: usize = 16;
/// Between two memories: accesses are compared with the size of a memory, so that it is small.
const GUARD_BYTES: u64 = 64 << 10;
/// What of a memory or table stays with the pool for the next instance, in bytes: the default
/// component has less.
const RESIDENT_BYTES_MAX: usize = 512 << 10;
/// Places whose memory stays with the pool.
const WARM_MAX: u32 = 4;

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
    ended: Condvar,
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
            .generate_address_map(false)
            .native_unwind_info(false)
            .max_wasm_stack(STACK_BYTES_MAX)
            .memory_reservation(u64::try_from(MEMORY_BYTES_MAX)?)
            .memory_reservation_for_growth(0)
            .memory_guard_size(GUARD_BYTES)
            .allocation_strategy(pool())
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
            ended: Condvar::new(),
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
        let running = self.lock();
        let full = |running: &mut usize| *running == RUNNING_MAX;
        let mut running = self
            .ended
            .wait_while(running, full)
            .unwrap_or_else(PoisonError::into_inner);
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
        self.0.ended.notify_one();
    }
}

/// Instances come from a pool: to make one and throw it away takes longer than a decision.
/// What an instance wrote is undone before its place is used again.
fn pool() -> PoolingAllocationConfig {
    let places = |each: u32| each.saturating_mul(RUNNING_MAX as u32);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(places(1))
        .total_core_instances(places(INSTANCES_MAX))
        .total_memories(places(MEMORIES_MAX))
        .total_tables(places(TABLES_MAX))
        .total_stacks(0)
        .max_core_instances_per_component(INSTANCES_MAX)
        .max_memories_per_component(MEMORIES_MAX)
        .max_memories_per_module(MEMORIES_MAX)
        .max_tables_per_component(TABLES_MAX)
        .max_tables_per_module(TABLES_MAX)
        .max_memory_size(MEMORY_BYTES_MAX)
        .table_elements(TABLE_ELEMENTS_MAX)
        .linear_memory_keep_resident(RESIDENT_BYTES_MAX)
        .table_keep_resident(RESIDENT_BYTES_MAX)
        .max_unused_warm_slots(WARM_MAX)
        .pagemap_scan(Enabled::Auto);
    pool
}

/// The first tick may come at once, so that one more is needed to wait that long.
fn ticks(deadline: Duration) -> u64 {
    let ticks = deadline.as_nanos().div_ceil(TICK.as_nanos());
    u64::try_from(ticks).unwrap_or(u64::MAX).saturating_add(1)
}
