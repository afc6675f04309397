//! A log in a database of its own.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::{Map, Value};
use tracing::level_filters::LevelFilter;
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

use super::file::LogFile;
use super::layer::{Queue, QueueLayer};
use super::record::Record;
use super::settings::LogSettings;
use crate::daemon::{Daemon, DaemonResult, StopOrder};
use crate::{Error, Result};

/// A log that is kept in a SQLite file, in the schema of the seed's `logs.db`.
///
/// Nothing waits for it: events go into a bounded queue, and a thread of its own writes them in
/// batches. What does not fit into the queue, or cannot be written because the disk is full or the
/// file is locked, is dropped and counted; the log says how much it misses as soon as it can.
///
/// Fields of spans are not written. Close it last: after [`LogDatabase::close`], or when it is
/// dropped, everything that was logged before is in the file. As one of
/// [`Daemons`](crate::Daemons) it is closed after all others have stopped; what is logged later
/// is not kept.
///
/// # Example
///
/// ```
/// # fn main() -> lockkeeper::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// use lockkeeper::logs::{LogDatabase, LogSettings};
/// use tracing_subscriber::layer::SubscriberExt as _;
/// let log = LogDatabase::open(LogSettings::at(folder.path().join("logs.db")))?;
/// let subscriber = tracing_subscriber::registry().with(log.layer());
/// tracing::subscriber::with_default(subscriber, || tracing::info!(answer = 42, "known"));
/// assert_eq!(log.close(), 0);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct LogDatabase {
    path: PathBuf,
    level: LevelFilter,
    queue: Arc<Queue>,
    writer: Option<JoinHandle<()>>,
}

impl LogDatabase {
    /// Opens the file, which is made if it is not there, and begins to write.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the file cannot be opened or made.
    pub fn open(settings: LogSettings) -> Result<Self> {
        let file = LogFile::open(&settings)?;
        Self::start(file, settings)
    }

    pub(super) fn start(file: LogFile, settings: LogSettings) -> Result<Self> {
        let (sender, receiver) = sync_channel(settings.queue_max);
        let queue = Arc::new(Queue::new(sender));
        let writer = Writer {
            name: settings.path.display().to_string(),
            file,
            queue: Arc::clone(&queue),
            batch: Vec::with_capacity(settings.batch_max),
            batch_max: settings.batch_max,
            interval: settings.interval,
            reported: 0,
            is_failing: false,
        };
        let writer = std::thread::Builder::new()
            .name("lockkeeper-logs".into())
            .spawn(move || writer.run(&receiver))
            .map_err(|error| Error::unavailable("cannot start a thread").with_source(error))?;
        Ok(Self {
            path: settings.path,
            level: settings.level,
            queue,
            writer: Some(writer),
        })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// The part of a subscriber that writes here; as many as are wanted.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        QueueLayer(Arc::clone(&self.queue)).with_filter(self.level)
    }

    /// How many records were not written until now.
    ///
    /// # Example
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let settings = lockkeeper::logs::LogSettings::at(folder.path().join("logs.db"));
    /// let log = lockkeeper::logs::LogDatabase::open(settings)?;
    /// assert_eq!(log.path(), folder.path().join("logs.db"));
    /// assert_eq!(log.dropped(), 0);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.queue.dropped()
    }

    /// Takes no more, writes what was logged, and returns how many records were dropped in all.
    /// Waits no longer than for one batch that cannot be written.
    pub fn close(mut self) -> u64 {
        self.finish();
        self.dropped()
    }

    fn finish(&mut self) {
        self.queue.close();
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has nothing more to write.
            let _ = writer.join();
        }
    }
}

impl Drop for LogDatabase {
    fn drop(&mut self) {
        self.finish();
    }
}

#[async_trait]
impl Daemon for LogDatabase {
    fn name(&self) -> &'static str {
        "the log"
    }

    fn stop_order(&self) -> StopOrder {
        StopOrder::Last
    }

    /// It writes since it was opened.
    async fn start(&mut self) -> DaemonResult {
        Ok(())
    }

    async fn stop(&mut self, deadline: Duration) -> DaemonResult {
        self.queue.close();
        let Some(writer) = self.writer.take() else {
            return Ok(());
        };
        let ended = tokio::task::spawn_blocking(move || writer.join());
        match tokio::time::timeout(deadline, ended).await {
            Ok(_) => Ok(()),
            Err(_) => Err(format!(
                "{} cannot be written in time; its last records may be missing",
                self.path.display()
            )
            .into()),
        }
    }
}

/// The thread that writes.
struct Writer {
    name: String,
    file: LogFile,
    queue: Arc<Queue>,
    batch: Vec<Record>,
    batch_max: usize,
    /// How long a record waits for others.
    interval: Duration,
    /// Dropped records that the log tells of already.
    reported: u64,
    is_failing: bool,
}

impl Writer {
    fn run(mut self, queue: &Receiver<Record>) {
        // The first of a batch begins the wait for others.
        while let Ok(first) = queue.recv() {
            self.batch.push(first);
            self.collect(queue);
            self.flush();
            if self.is_failing && self.queue.is_closed() {
                // Nobody is kept waiting by a log that cannot be written.
                self.queue.drop_records(queue.try_iter().count() as u64);
                break;
            }
        }
        let missing = self.queue.dropped() - self.reported;
        if missing > 0 {
            self.say(&format!("{missing} log records were dropped"));
        }
    }

    /// Fills the batch.
    fn collect(&mut self, queue: &Receiver<Record>) {
        let due = Instant::now() + self.interval;
        while self.batch.len() < self.batch_max {
            let left = due.saturating_duration_since(Instant::now());
            match queue.recv_timeout(left) {
                Ok(record) => self.batch.push(record),
                // It is due, or the log was closed.
                Err(_) => return,
            }
        }
    }

    fn flush(&mut self) {
        let records = self.batch.len() as u64;
        let dropped = self.queue.dropped();
        if dropped > self.reported {
            self.batch.push(missing(dropped - self.reported));
        }
        match self.file.append(&self.batch) {
            Ok(()) => {
                self.reported = dropped;
                self.is_failing = false;
            }
            Err(error) => {
                self.queue.drop_records(records);
                // Once, until it works again: standard error is nobody's second log.
                if !std::mem::replace(&mut self.is_failing, true) {
                    self.say(&format!("cannot write, log records are dropped: {error}"));
                }
            }
        }
        self.batch.clear();
    }

    fn say(&self, what: &str) {
        let _ = writeln!(std::io::stderr(), "log {}: {what}", self.name);
    }
}

/// What the log says about itself.
fn missing(count: u64) -> Record {
    let mut data = Map::new();
    data.insert("dropped".to_owned(), Value::from(count));
    Record::new(
        Level::WARN,
        format!("{count} log records were dropped"),
        &data,
    )
}
