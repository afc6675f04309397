//! Holds a component in the middle of a call, for as long as a test wants.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::Subscriber;

use super::Guest;

/// What a component says that is to be held.
const WORD: &str = "hold me here";
/// A wait that only ends a test that would otherwise hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// A log in which the line of a component that says the word is written only when the gate was
/// opened: until then the component is provably in the middle of its call. The gate opens when it
/// is dropped, so that a test that fails ends.
#[derive(Debug, Default)]
pub(crate) struct Gate(Line);

/// One end of the log.
#[derive(Clone, Debug, Default)]
struct Line(Arc<(Mutex<State>, Condvar)>);

#[derive(Debug, Default)]
struct State {
    is_held: bool,
    is_open: bool,
}

impl Guest {
    /// The body of an export, which says the word first.
    pub(crate) fn held_in(self, name: &'static str, body: &str) -> Self {
        let say = "(call $say (i32.const 2) (i32.const 640) (i32.const 12))";
        self.item(r#"(import "$root" "log" (func $say (param i32 i32 i32)))"#)
            .item(&format!(r#"(data (i32.const 640) "{WORD}")"#))
            .export(name, &body.replace("(say)", say))
    }
}

impl Gate {
    /// The log, which is to be that of everything that calls the component.
    pub(crate) fn log(&self) -> impl Subscriber + Send + Sync + 'static {
        let line = self.0.clone();
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::INFO)
            .with_writer(move || line.clone())
            .finish()
    }

    /// Whether a component is in the middle of its call now.
    pub(crate) fn is_holding(&self) -> bool {
        let state = self.0.lock();
        state.is_held && !state.is_open
    }

    /// Lets it go on, and every other that comes.
    pub(crate) fn open(&self) {
        self.0.lock().is_open = true;
        self.0.0.1.notify_all();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.open();
    }
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self) {
        let mut state = self.lock();
        state.is_held = true;
        let waiting = self
            .0
            .1
            .wait_timeout_while(state, PATIENCE, |state| !state.is_open);
        let (mut state, _) = waiting.unwrap_or_else(PoisonError::into_inner);
        state.is_open = true;
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if String::from_utf8_lossy(bytes).contains(WORD) {
            self.wait();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
