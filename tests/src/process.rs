//! Other processes: each is killed and reaped at the latest when its value is dropped.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// How long a test waits for another process before it fails.
const DEADLINE: Duration = Duration::from_secs(60);
/// Lines that may wait to be read; then the process waits.
const LINES_MAX: usize = 65_536;

/// A process that runs beside the test. What it prints comes line by line.
#[derive(Debug)]
pub struct Running {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    printed: Vec<String>,
}

/// A process that has ended.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// Everything it printed, on either stream.
    pub printed: Vec<String>,
}

impl Running {
    /// Starts a process.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let (sender, lines) = sync_channel(LINES_MAX);
        forward(child.stdout.take().expect("a pipe"), sender.clone());
        forward(child.stderr.take().expect("a pipe"), sender);
        Self {
            input: child.stdin.take(),
            child,
            lines,
            printed: Vec::new(),
        }
    }

    /// The next line it prints; `None` if it has ended and everything was read.
    pub fn next_line(&mut self) -> Option<String> {
        match self.lines.recv_timeout(DEADLINE) {
            Ok(line) => {
                self.printed.push(line.clone());
                Some(line)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!(
                "silent for {} s after {:#?}",
                DEADLINE.as_secs(),
                self.printed
            ),
        }
    }

    /// Waits for a line that `wanted` accepts, and returns it.
    pub fn wait_for(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        while let Some(line) = self.next_line() {
            if wanted(&line) {
                return line;
            }
        }
        panic!("ended before {what}: {:#?}", self.printed);
    }

    /// Its number in the kernel.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        let status = self.child.try_wait();
        status.expect("look at a process").is_some()
    }

    /// Sends a line to its standard input.
    pub fn send_line(&mut self, line: &str) {
        let input = self.input.as_mut().expect("its input is open");
        writeln!(input, "{line}").expect("send a line");
    }

    /// Closes its standard input and waits until it has ended.
    #[must_use]
    pub fn finish(mut self) -> Ended {
        self.input = None;
        self.wait()
    }

    /// Asks it to end, and waits until it has.
    #[must_use]
    pub fn terminate(mut self) -> Ended {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Ends it at once: it runs not one instruction more.
    #[must_use]
    pub fn kill(mut self) -> Ended {
        self.signal(Signal::KILL);
        self.wait()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("the process was not reaped");
    }

    fn wait(&mut self) -> Ended {
        while self.next_line().is_some() {}
        Ended {
            status: self.child.wait().expect("wait for a process"),
            printed: std::mem::take(&mut self.printed),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if it was reaped already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a process to its end.
///
/// # Panics
///
/// If it fails.
#[track_caller]
pub fn run(program: impl AsRef<OsStr>, arguments: &[&str]) -> Ended {
    let ended = Running::start(Command::new(program).args(arguments)).finish();
    assert!(ended.status.success(), "{arguments:?}: {ended:?}");
    ended
}

fn forward(stream: impl Read + Send + 'static, sender: SyncSender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
}
