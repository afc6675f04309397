//! A program that is measured while it runs.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

/// How often its memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// How long a program may take for anything.
const DEADLINE: Duration = Duration::from_secs(300);

/// A running program, which ends with this value at the latest.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    /// Since when its processor time is counted.
    counted_from: Duration,
}

/// What a program took that ran to its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Took {
    pub(crate) wall: Duration,
    /// The most memory that was resident, in bytes.
    pub(crate) memory: u64,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        Ok(Self {
            child,
            counted_from: Duration::ZERO,
        })
    }

    /// Counts processor time from now on, so that a start is not.
    pub(crate) fn count_from_now(&mut self) -> Result<()> {
        self.counted_from = self.cpu_since_start()?;
        Ok(())
    }

    /// Processor time of all its threads, in its own code and in the kernel for it.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        Ok(self.cpu_since_start()?.saturating_sub(self.counted_from))
    }

    fn cpu_since_start(&self) -> Result<Duration> {
        Ok(clock_getcpuclockid(self.pid()?)?.now()?.into())
    }

    /// Memory that is resident now, in bytes.
    pub(crate) fn memory(&self) -> Result<u64> {
        self.status("VmRSS:").context("it does not run any more")
    }

    /// Waits until `reached`.
    ///
    /// # Errors
    ///
    /// If it ends before, or takes too long.
    pub(crate) fn wait_until(&mut self, what: &str, reached: impl Fn() -> bool) -> Result<()> {
        let started = Instant::now();
        while !reached() {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status} before {what}");
            }
            ensure!(started.elapsed() < DEADLINE, "it takes too long for {what}");
            sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Waits until it has ended well.
    pub(crate) fn finish(mut self, started: Instant) -> Result<Took> {
        let mut memory = 0;
        loop {
            memory = memory.max(self.status("VmHWM:").unwrap_or(0));
            if let Some(status) = self.child.try_wait()? {
                let wall = started.elapsed();
                ensure!(status.success(), "it ended with {status}");
                return Ok(Took { wall, memory });
            }
            ensure!(started.elapsed() < DEADLINE, "it takes too long");
            sleep(LOOK_EVERY);
        }
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(mut self) -> Result<()> {
        kill(self.pid()?, Signal::SIGTERM)?;
        self.child.wait()?;
        Ok(())
    }

    fn pid(&self) -> Result<Pid> {
        Ok(Pid::from_raw(i32::try_from(self.child.id())?))
    }

    /// A line of its status that is a size, in bytes; `None` once it has ended.
    fn status(&self, key: &str) -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let value = text.lines().find_map(|line| line.strip_prefix(key))?;
        let kib: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kib.saturating_mul(1024))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if it was reaped already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
