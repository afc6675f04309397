//! The log of one replication, which no other part of the process shares.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime;
use tracing::dispatcher::{self, DefaultGuard, Dispatch};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry, reload};

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
    follow: Follow,
    /// What writes them; `None` if the application does.
    lines: Option<Arc<Lines>>,
}

impl ReplicationLog {
    /// To standard output or standard error, as the configuration has it.
    pub(crate) fn configured(logging: &Logging) -> Self {
        Self::lines(logging, standard(logging))
    }

    /// To a subscriber of the application, which may follow the configuration.
    pub(crate) fn given(dispatch: Dispatch, follow: Follow) -> Self {
        Self {
            dispatch,
            follow,
            lines: None,
        }
    }

    /// Where everything else of this thread goes.
    #[cfg(test)]
    pub(crate) fn current() -> Self {
        Self::given(dispatcher::get_default(Clone::clone), Follow::default())
    }

    fn lines(logging: &Logging, out: Out) -> Self {
        let (form, guard) = form(logging, out);
        let (form, form_now) = reload::Layer::new(form);
        let (level, level_now) = reload::Layer::new(of_level(logging));
        let writing = Writing {
            logging: logging.clone(),
            _guard: guard,
        };
        let lines = Arc::new(Lines {
            form: form_now,
            level: level_now,
            writing: Mutex::new(Some(writing)),
        });
        let following = Arc::clone(&lines);
        Self {
            dispatch: tracing_subscriber::registry()
                .with(form.with_filter(level))
                .into(),
            follow: Follow::new(move |logging| following.change(logging, standard)),
            lines: Some(lines),
        }
    }

    /// What makes it follow another configuration.
    pub(crate) fn follow(&self) -> Follow {
        self.follow.clone()
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

impl Drop for ReplicationLog {
    /// Writes the last lines.
    fn drop(&mut self) {
        if let Some(lines) = &self.lines {
            lines.lock().take();
        }
    }
}

/// What is done when another configuration says how replication logs.
#[derive(Clone, Default)]
pub(crate) struct Follow(Option<Arc<OnLogging>>);

type OnLogging = dyn Fn(&Logging) + Send + Sync;

impl Follow {
    pub(crate) fn new(follow: impl Fn(&Logging) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(follow)))
    }

    /// May block for a second.
    pub(crate) fn to(&self, logging: &Logging) {
        if let Some(follow) = &self.0 {
            follow(logging);
        }
    }
}

impl fmt::Debug for Follow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follow").finish_non_exhaustive()
    }
}

/// Lines that are written, and how: that may change meanwhile.
struct Lines {
    form: reload::Handle<Form, Registry>,
    level: reload::Handle<Targets, Registry>,
    /// `None` once the log has ended.
    writing: Mutex<Option<Writing>>,
}

struct Writing {
    logging: Logging,
    /// Writes the last lines when it is dropped.
    _guard: WorkerGuard,
}

impl Lines {
    /// Makes and sends lines from here on as another configuration has it. Those of before are
    /// written when this returns, unless nobody reads them.
    fn change(&self, logging: &Logging, out: impl FnOnce(&Logging) -> Out) {
        let mut writing = self.lock();
        let Some(writing) = writing.as_mut() else {
            return;
        };
        if writing.logging == *logging {
            return;
        }
        let (form, guard) = form(logging, out(logging));
        // Both fail only when the subscriber is gone, and its events with it.
        let _ = self.form.reload(form);
        let _ = self.level.reload(of_level(logging));
        *writing = Writing {
            logging: logging.clone(),
            _guard: guard,
        };
    }

    fn lock(&self) -> MutexGuard<'_, Option<Writing>> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What makes lines of events.
type Form = Box<dyn Layer<Registry> + Send + Sync>;

/// Where lines go, and whether people look at them in colour.
struct Out {
    to: Box<dyn Write + Send>,
    colour: bool,
}

/// The standard stream that a configuration names.
fn standard(logging: &Logging) -> Out {
    if logging.stderr {
        Out {
            to: Box::new(io::stderr()),
            colour: io::stderr().is_terminal(),
        }
    } else {
        Out {
            to: Box::new(io::stdout()),
            colour: io::stdout().is_terminal(),
        }
    }
}

fn form(logging: &Logging, out: Out) -> (Form, WorkerGuard) {
    let (lines, writer) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(LINES_MAX)
        .thread_name("lockkeeper-lines")
        .finish(out.to);
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(lines)
        .with_ansi(out.colour)
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
    (layer, writer)
}

fn of_level(logging: &Logging) -> Targets {
    Targets::new().with_target("lockkeeper", logging.level)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// What was written, for as many writers as share it.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Kept {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }

        fn out(&self) -> Out {
            Out {
                to: Box::new(self.clone()),
                colour: false,
            }
        }
    }

    impl Write for Kept {
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
        let (text, json, application) = (Kept::default(), Kept::default(), Kept::default());
        let one =
            ReplicationLog::lines(&logging(tracing::Level::INFO, LogFormat::Text), text.out());
        let two =
            ReplicationLog::lines(&logging(tracing::Level::WARN, LogFormat::Json), json.out());
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
    fn another_configuration_changes_the_lines_from_there_on() {
        let (before, after) = (Kept::default(), Kept::default());
        let settings = logging(tracing::Level::INFO, LogFormat::Text);
        let log = ReplicationLog::lines(&settings, before.out());
        let lines = log.lines.clone().unwrap();
        log.within(|| {
            tracing::info!("first");
            tracing::debug!("too quiet");
            lines.change(&settings, |_| panic!("nothing changed"));
            let other = logging(tracing::Level::DEBUG, LogFormat::Json);
            lines.change(&other, |_| after.out());
            assert!(before.text().contains("first"), "it is written by then");
            tracing::debug!("second");
            let quieter = logging(tracing::Level::WARN, LogFormat::Json);
            lines.change(&quieter, |_| after.out());
            tracing::info!("too quiet");
            tracing::warn!("third");
        });
        drop(log);
        lines.change(&settings, |_| panic!("it has ended"));
        assert_eq!(before.text().lines().count(), 1, "{}", before.text());
        let messages: Vec<_> = after
            .text()
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .map(|line| line["fields"]["message"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(messages, ["second", "third"]);
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
        let out = Out {
            to: Box::new(Stuck(stuck)),
            colour: false,
        };
        let log = ReplicationLog::lines(&settings, out);
        log.within(|| {
            for n in 0..LINES_MAX + 10 {
                tracing::info!(n, "a line");
            }
        });
        drop(release);
    }
}
