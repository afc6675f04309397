//! Says on stdout what was done and how long it took.

use std::io::{Write, stdout};
use std::time::Instant;

/// Columns of text before the time.
const WIDTH: usize = 78;

/// The steps so far.
pub(crate) struct Report {
    began: Instant,
    step_began: Instant,
    steps: u32,
}

impl Report {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self {
            began: now,
            step_began: now,
            steps: 0,
        }
    }

    /// What was done since the last step.
    pub(crate) fn step(&mut self, text: &str) {
        self.steps += 1;
        let took = self.step_began.elapsed().as_millis();
        line(&format!("{:>2}. {text:<WIDTH$} {took:>6} ms", self.steps));
        self.step_began = Instant::now();
    }

    /// The last line, with the time of everything.
    pub(crate) fn end(&self, text: &str) {
        let took = self.began.elapsed().as_secs_f64();
        line(&format!("\n{text} It took {took:.1} s."));
    }
}

/// A closed stdout is no reason to fail.
pub(crate) fn line(text: &str) {
    let _ = writeln!(stdout(), "{text}");
}
