//! All that an instance can reach: a log with bounds, and a WASI world with nothing in it.

use std::sync::Arc;
use std::time::Instant;

use lockkeeper_core::text::printable;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::p2::bindings::{cli, clocks, random, sync};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::random::{WasiRandom, WasiRandomCtx};
use wasmtime_wasi::{Deterministic, WasiCtx, WasiCtxView, WasiView};

use super::contract::{self, PolicyImports, types};
use super::journal::Journal;
use super::limiter::Limiter;

/// What is kept of what an instance prints: enough for the text of a panic.
const STDERR_BYTES_MAX: usize = 16 << 10;
/// The longest part of it that reaches the log, in characters.
const STDERR_CHARS_MAX: usize = 2000;
/// The most random bytes in one call.
const RANDOM_BYTES_MAX: u64 = 4 << 10;
/// Streams and the like that an instance holds at a time.
const RESOURCES_MAX: usize = 100;

/// The state of one instance on the side of the host.
pub(super) struct Outside {
    pub(super) limiter: Limiter,
    /// Made when it is first reached for: most components never do, and it takes longer to make
    /// than to ask them.
    wasi: Option<Box<Wasi>>,
    journal: Option<Arc<Journal>>,
}

/// The WASI world of one instance.
struct Wasi {
    ctx: WasiCtx,
    table: ResourceTable,
    stderr: MemoryOutputPipe,
}

impl Wasi {
    fn new() -> Self {
        let stderr = MemoryOutputPipe::new(STDERR_BYTES_MAX);
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        let ctx = WasiCtx::builder()
            .stderr(stderr.clone())
            .allow_tcp(false)
            .allow_udp(false)
            .secure_random(Deterministic::new(vec![0]))
            .insecure_random(Deterministic::new(vec![0]))
            .insecure_random_seed(0)
            .max_random_size(RANDOM_BYTES_MAX)
            .build();
        Self { ctx, table, stderr }
    }
}

impl Outside {
    /// Without a journal the instance is mute: it knows something that must not be printed.
    pub(super) fn new(journal: Option<Arc<Journal>>) -> Self {
        Self {
            limiter: Limiter::default(),
            wasi: None,
            journal,
        }
    }

    /// What the instance printed, unless it is mute.
    pub(super) fn last_words(&self) -> Option<String> {
        self.journal.as_ref()?;
        let bytes = self.wasi.as_ref()?.stderr.contents();
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim();
        (!text.is_empty()).then(|| printable(text, STDERR_CHARS_MAX))
    }

    fn wasi(&mut self) -> &mut Wasi {
        self.wasi.get_or_insert_with(|| Box::new(Wasi::new()))
    }

    fn table(&mut self) -> &mut ResourceTable {
        &mut self.wasi().table
    }

    fn random(&mut self) -> &mut WasiRandomCtx {
        self.wasi().ctx.random()
    }
}

impl WasiView for Outside {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let Wasi { ctx, table, .. } = self.wasi();
        WasiCtxView { ctx, table }
    }
}

impl PolicyImports for Outside {
    fn log(&mut self, severity: types::Severity, message: String) {
        if let Some(journal) = &self.journal {
            journal.write(severity, &message, Instant::now());
        }
    }
}

impl types::Host for Outside {}

/// Links the imports that the contract lets through, and no others.
pub(super) fn link(linker: &mut Linker<Outside>) -> wasmtime::Result<()> {
    contract::link(linker)?;
    let table = Outside::table;
    wasmtime_wasi::p2::bindings::io::error::add_to_linker::<_, Tables>(linker, table)?;
    sync::io::poll::add_to_linker::<_, Tables>(linker, table)?;
    sync::io::streams::add_to_linker::<_, Tables>(linker, table)?;
    clocks::monotonic_clock::add_to_linker::<_, StoppedClock>(linker, |_| StoppedClock)?;
    clocks::wall_clock::add_to_linker::<_, StoppedClock>(linker, |_| StoppedClock)?;
    let random = Outside::random;
    random::random::add_to_linker::<_, WasiRandom>(linker, random)?;
    random::insecure::add_to_linker::<_, WasiRandom>(linker, random)?;
    random::insecure_seed::add_to_linker::<_, WasiRandom>(linker, random)?;
    let cli = Outside::cli;
    cli::environment::add_to_linker::<_, WasiCli>(linker, cli)?;
    cli::exit::add_to_linker::<_, WasiCli>(linker, cli)?;
    cli::stdin::add_to_linker::<_, WasiCli>(linker, cli)?;
    cli::stdout::add_to_linker::<_, WasiCli>(linker, cli)?;
    cli::stderr::add_to_linker::<_, WasiCli>(linker, cli)?;
    cli::terminal_input::add_to_linker::<_, WasiCli>(linker, cli)?;
    cli::terminal_output::add_to_linker::<_, WasiCli>(linker, cli)?;
    cli::terminal_stdin::add_to_linker::<_, WasiCli>(linker, cli)?;
    cli::terminal_stdout::add_to_linker::<_, WasiCli>(linker, cli)?;
    cli::terminal_stderr::add_to_linker::<_, WasiCli>(linker, cli)
}

struct Tables;

impl HasData for Tables {
    type Data<'a> = &'a mut ResourceTable;
}

/// A clock that stands still: time reaches a policy as a fact.
struct StoppedClock;

impl HasData for StoppedClock {
    type Data<'a> = Self;
}

impl StoppedClock {
    /// Waiting happens in the host, where neither fuel nor the deadline would end it.
    fn refuse<T>() -> wasmtime::Result<T> {
        Err(wasmtime::format_err!(
            "it waits for a clock, and a policy has none"
        ))
    }
}

impl clocks::monotonic_clock::Host for StoppedClock {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(0)
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(1)
    }

    fn subscribe_instant(
        &mut self,
        _when: u64,
    ) -> wasmtime::Result<Resource<clocks::monotonic_clock::Pollable>> {
        Self::refuse()
    }

    fn subscribe_duration(
        &mut self,
        _wait: u64,
    ) -> wasmtime::Result<Resource<clocks::monotonic_clock::Pollable>> {
        Self::refuse()
    }
}

impl clocks::wall_clock::Host for StoppedClock {
    fn now(&mut self) -> wasmtime::Result<clocks::wall_clock::Datetime> {
        Ok(clocks::wall_clock::Datetime {
            seconds: 0,
            nanoseconds: 0,
        })
    }

    fn resolution(&mut self) -> wasmtime::Result<clocks::wall_clock::Datetime> {
        Ok(clocks::wall_clock::Datetime {
            seconds: 1,
            nanoseconds: 0,
        })
    }
}
