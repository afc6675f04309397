//! Why a call of a component did not give an answer.

use std::time::Duration;

use lockkeeper_core::text::printable;
use wasmtime::Trap;
use wasmtime_wasi::I32Exit;

use super::limiter::MEMORY_BYTES_MAX;
use super::outside::Outside;
use super::sandbox::Bounds;

/// The longest message of the runtime that is passed on, in characters.
const MESSAGE_CHARS_MAX: usize = 500;
/// The runtime has no type for this one.
const HOSTCALL_FUEL: &str = "fuel allocated for hostcalls has been exhausted";

/// Why a call gave no answer, and what the component printed before.
#[derive(Debug, thiserror::Error)]
#[error("{cause}{}", last_words.as_ref().map(|words| format!("; it printed: {words}")).unwrap_or_default())]
pub(super) struct Failure {
    pub(super) cause: Cause,
    last_words: Option<String>,
}

/// What ended a call.
#[derive(Debug, thiserror::Error)]
pub(super) enum Cause {
    #[error("it ran for more than {0:?}")]
    Deadline(Duration),
    #[error("it ran for more than {0} instructions")]
    Fuel(u64),
    #[error("it wanted more than {} MiB of memory, or too large a table", MEMORY_BYTES_MAX >> 20)]
    Memory,
    #[error("it used up its stack")]
    Stack,
    #[error("it passed more than {0} bytes to the host at a time")]
    Answer(usize),
    #[error("it exited instead of answering")]
    Exit,
    #[error("it trapped: {0}")]
    Trap(Trap),
    #[error("{0}")]
    Other(String),
}

impl Failure {
    pub(super) fn new(error: &wasmtime::Error, bounds: Bounds, outside: &Outside) -> Self {
        let trap = error.downcast_ref::<Trap>().copied();
        let cause = match trap {
            Some(Trap::Interrupt) => Cause::Deadline(bounds.deadline),
            Some(Trap::OutOfFuel) => Cause::Fuel(bounds.fuel),
            Some(Trap::StackOverflow) => Cause::Stack,
            _ if outside.limiter.refused() => Cause::Memory,
            Some(trap) => Cause::Trap(trap),
            None if error.is::<I32Exit>() => Cause::Exit,
            None => Cause::of_message(&format!("{error:#}"), bounds),
        };
        Self {
            cause,
            last_words: outside.last_words(),
        }
    }
}

impl Cause {
    fn of_message(message: &str, bounds: Bounds) -> Self {
        if message.contains(HOSTCALL_FUEL) {
            Self::Answer(bounds.answer_bytes)
        } else {
            Self::Other(printable(message, MESSAGE_CHARS_MAX))
        }
    }
}
