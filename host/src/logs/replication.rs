//! The log of one replication, which no other part of the process shares.

use std::cell::RefCell;
use std::io::{self, IsTerminal, Write};

use tokio::runtime;
use tracing::dispatcher::{self, DefaultGuard, Dispatch};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;

use crate::configuration::{LogFormat, Logging};

/// Lines that wait for a reader of standard output. Who does not read must not hold replication up:
/// more are dropped.
const LINES_MAX: usize = 10_000;

thread_local! {
    /// Ends with the thread what it logs to.
    static ENTERED: RefCell<Option<DefaultGuard>> = const { RefCell::new(None) };
}

/// Where the events of one replication go.
pub(crate) struct ReplicationLog {
    dispatch: Dispatch,
    /// Writes the last lines when it is dropped.
    _writer: Option<WorkerGuard>,
}

impl ReplicationLog {
    /// To standard output or standard error, as the configuration has it.
    pub(crate) fn configured(logging: &Logging) -> Self {
        if logging.stderr {
            Self::lines(logging, io::stderr(), io::stderr().is_terminal())
        } else {
            Self::lines(logging, io::stdout(), io::stdout().is_terminal())
        }
    }

    /// To a subscriber of the application.
    pub(crate) fn given(dispatch: Dispatch) -> Self {
        Self {
            dispatch,
            _writer: None,
        }
    }

    /// Where everything else of this thread goes.
    #[cfg(test)]
    pub(crate) fn current() -> Self {
        Self::given(dispatcher::get_default(Clone::clone))
    }

    fn lines(logging: &Logging, out: impl Write + Send + 'static, colour: bool) -> Self {
        let (lines, writer) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(LINES_MAX)
            .thread_name("lockkeeper-lines")
            .finish(out);
        Self {
            dispatch: dispatch(logging, lines, colour),
            _writer: Some(writer),
        }
    }

    /// Does `work` with this log, on this thread.
    pub(crate) fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        dispatcher::with_default(&self.dispatch, work)
    }

    /// Gives it to every thread that `runtime` starts for work that blocks.
    pub(crate) fn enter_threads(&self, runtime: &mut runtime::Builder) {
        let dispatch = self.dispatch.clone();
        runtime
            .on_thread_start(move || {
                ENTERED.set(Some(dispatcher::set_default(&dispatch)));
            })
            .on_thread_stop(|| ENTERED.set(None));
    }
}

fn dispatch<W>(logging: &Logging, writer: W, colour: bool) -> Dispatch
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(colour)
        .with_target(false)
        .with_file(logging.source)
        .with_line_number(logging.source)
        // There is nowhere left to say them.
        .log_internal_errors(false);
    let layer = match logging.format {
        LogFormat::Json => layer.json().boxed(),
        LogFormat::Pretty => layer.pretty().boxed(),
        LogFormat::Text => layer.boxed(),
    };
    let ours = Targets::new().with_target("lockkeeper", logging.level);
    tracing_subscriber::registry()
        .with(layer.with_filter(ours))
        .into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What was written, for as many writers as share it.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Lines {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logging(level: tracing::Level, format: LogFormat) -> Logging {
        Logging {
            level,
            format,
            stderr: false,
            source: false,
        }
    }

    /// Logs on a thread of a runtime that has this log, and on one for work that blocks.
    fn replicate(log: &ReplicationLog, name: &str) {
        let mut builder = runtime::Builder::new_current_thread();
        log.enter_threads(&mut builder);
        let runtime = builder.build().unwrap();
        let blocking = name.to_owned();
        log.within(|| {
            runtime.block_on(async {
                tracing::info!("{name} asks");
                let work = move || tracing::warn!("{blocking} blocks");
                tokio::task::spawn_blocking(work).await.unwrap();
            });
        });
    }

    #[test]
    fn two_replications_in_one_process_have_a_log_each() {
        let (text, json, application) = (Lines::default(), Lines::default(), Lines::default());
        let one = ReplicationLog::lines(
            &logging(tracing::Level::INFO, LogFormat::Text),
            text.clone(),
            false,
        );
        let two = ReplicationLog::lines(
            &logging(tracing::Level::WARN, LogFormat::Json),
            json.clone(),
            false,
        );
        let own = application.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || own.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            std::thread::scope(|scope| {
                scope.spawn(|| replicate(&one, "one"));
                scope.spawn(|| replicate(&two, "two"));
            });
            tracing::info!("the application");
        });
        drop((one, two));
        let (text, json, application) = (text.text(), json.text(), application.text());
        assert!(
            text.contains("one asks") && text.contains("one blocks"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 2, "{text}");
        let line: serde_json::Value = serde_json::from_str(json.trim()).unwrap();
        assert_eq!(line["fields"]["message"], "two blocks", "{json}");
        assert_eq!(application.lines().count(), 1, "{application}");
    }

    #[test]
    fn a_reader_that_does_not_read_holds_nothing_up() {
        /// As a pipe is that nobody empties.
        struct Stuck(std::sync::mpsc::Receiver<()>);
        impl Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                // Ends when the test does.
                let _ = self.0.recv();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (release, stuck) = std::sync::mpsc::channel();
        let settings = logging(tracing::Level::INFO, LogFormat::Text);
        let log = ReplicationLog::lines(&settings, Stuck(stuck), false);
        log.within(|| {
            for n in 0..LINES_MAX + 10 {
                tracing::info!(n, "a line");
            }
        });
        drop(release);
    }
}
