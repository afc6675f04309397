//! A configuration that a component has validated, as the engine runs it.

mod reader;
mod replica;

use std::path::{Path, PathBuf};
use std::time::Duration;

use self::reader::SettingsReader;
use self::replica::Surroundings;
use crate::control::ControlSettings;
use crate::heartbeat::HeartbeatSettings;
use crate::local::LocalDatabase;
use crate::paths;
use crate::policy::{Component, DatabasePlan, Diagnostic, Plan, ReplicaPlan, Severity};
use crate::secret::Secret;
use crate::settings::{DatabaseSettings, DirectorySettings, LifeSettings, ReplicaSettings};
use crate::store::Replica;
use crate::store::cloud::Connectivity;
use crate::{Error, Result};

/// The kinds of replica that this host has.
pub(crate) const REPLICA_KINDS: [&str; 4] = ["file", "s3", "gs", "abs"];
/// A shorter pause between two looks at a database would only burn a core.
const MONITOR_INTERVAL_MIN: Duration = Duration::from_millis(10);
/// Levels between single transactions and snapshots.
const LEVELS_MAX: usize = 8;
/// How often a heartbeat is sent where the configuration does not say.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(300);

/// A valid `litestream.yml`.
///
/// # Example
///
/// ```
/// # fn main() -> lockkeeper::Result<()> {
/// use lockkeeper::{Configuration, policy::{Component, PolicySource}};
/// let component = Component::load(&PolicySource::Embedded)?;
/// let text = "dbs:\n  - path: app.db\n    replica: {path: backup}\n";
/// let configuration = Configuration::read(text, &component, "/srv".as_ref())?;
/// assert_eq!(configuration.databases().next(), Some("/srv/app.db".as_ref()));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Configuration {
    pub(crate) databases: Vec<Entry>,
    pub(crate) logging: Logging,
    shutdown_timeout: Duration,
    control: Option<ControlSettings>,
    heartbeat: Option<HeartbeatSettings>,
    diagnostics: Vec<Diagnostic>,
}

/// One element of `dbs`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Entry {
    /// A database file.
    File(DatabaseSettings),
    /// A directory of them.
    Directory(DirectorySettings),
}

impl Entry {
    /// Whether it names the database at `path`, or the directory it is in.
    pub(crate) fn has(&self, path: &Path) -> bool {
        match self {
            Self::File(settings) => settings.path == path,
            Self::Directory(directory) => directory.has(path),
        }
    }

    /// Where its databases go.
    pub(crate) fn replica(&self) -> &ReplicaSettings {
        match self {
            Self::File(settings) => &settings.replica,
            Self::Directory(directory) => &directory.database.replica,
        }
    }

    pub(crate) fn settings_mut(&mut self) -> &mut DatabaseSettings {
        match self {
            Self::File(settings) => settings,
            Self::Directory(directory) => &mut directory.database,
        }
    }
}

/// How the configuration wants replication to log.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Logging {
    /// The least severe level that is logged.
    pub level: tracing::Level,
    /// The form of a line.
    pub format: LogFormat,
    /// To standard error instead of standard output.
    pub stderr: bool,
    /// Whether a line names the place in the source.
    pub source: bool,
}

impl Default for Logging {
    /// As a configuration without `logging` has it.
    fn default() -> Self {
        Self {
            level: tracing::Level::INFO,
            format: LogFormat::Text,
            stderr: false,
            source: false,
        }
    }
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LogFormat {
    /// One line of text.
    Text,
    /// One JSON object on a line.
    Json,
    /// Several lines, for people at a terminal.
    Pretty,
}

impl Configuration {
    /// How long a last flush may take where the configuration does not say.
    pub(crate) const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);

    /// Validates `source` with a component; relative paths start at `base`.
    ///
    /// # Errors
    ///
    /// `Invalid` if the configuration is: [`Error::diagnostics`] has every problem, and the message
    /// lists them.
    pub fn read(source: &str, component: &Component, base: &Path) -> Result<Self> {
        let base = std::path::absolute(base).map_err(|error| {
            Error::invalid(format!("{} is no path", base.display())).with_source(error)
        })?;
        let validation = component.validate(source, &REPLICA_KINDS)?;
        let plan = validation.into_plan().map_err(Error::from_diagnostics)?;
        Self::from_plan(plan, &base)
    }

    /// Warnings and notes.
    #[must_use]
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// Adds a warning about where it comes from.
    pub(crate) fn warn(&mut self, code: &str, message: String) {
        self.diagnostics.push(Diagnostic {
            severity: Severity::Warning,
            code: code.into(),
            path: String::new(),
            position: None,
            message,
            help: None,
        });
    }

    /// How it wants replication to log.
    #[must_use]
    pub fn logging(&self) -> &Logging {
        &self.logging
    }

    /// How long the last flush may take.
    #[must_use]
    pub fn shutdown_timeout(&self) -> Duration {
        self.shutdown_timeout
    }

    /// The database files and directories it names, as absolute paths.
    pub fn databases(&self) -> impl Iterator<Item = &Path> {
        self.databases.iter().map(|entry| match entry {
            Entry::File(settings) => settings.path.as_path(),
            Entry::Directory(settings) => settings.path.as_path(),
        })
    }

    /// Where the control socket is, if there is to be one.
    #[must_use]
    pub fn control_socket(&self) -> Option<&Path> {
        self.control.as_ref().map(|control| control.path.as_path())
    }

    pub(crate) fn heartbeat(&self) -> Option<&HeartbeatSettings> {
        self.heartbeat.as_ref()
    }

    pub(crate) fn control(&self) -> Option<&ControlSettings> {
        self.control.as_ref()
    }

    /// The database files it names, and those that are in its directories now.
    ///
    /// # Errors
    ///
    /// `Unavailable` if a directory cannot be read.
    pub fn find_databases(&self) -> Result<Vec<LocalDatabase>> {
        let mut found = Vec::new();
        for entry in &self.databases {
            match entry {
                Entry::File(settings) => found.push(LocalDatabase::new(settings.clone())),
                Entry::Directory(directory) => {
                    let paths = crate::engine::find_in_directory(directory)?;
                    let settings = paths.iter().filter_map(|path| directory.database(path));
                    found.extend(settings.map(LocalDatabase::new));
                }
            }
        }
        Ok(found)
    }

    /// The database at `path`, which is named itself or is in a directory that is. The path may be
    /// relative to the current directory, lead over symbolic links, or begin with `sqlite://`. The
    /// file need not exist.
    ///
    /// # Errors
    ///
    /// `Invalid` if the configuration does not have it.
    ///
    /// # Example
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// use std::path::Path;
    /// use std::time::Duration;
    ///
    /// use lockkeeper::Configuration;
    /// use lockkeeper::policy::{Component, PolicySource};
    ///
    /// let policy = Component::load(&PolicySource::Embedded)?;
    /// let text = "dbs:\n  - path: app.db\n    replica: {path: backup}\n";
    /// let configuration = Configuration::read(text, &policy, folder.path())?;
    ///
    /// let path = folder.path().join("app.db");
    /// let database = configuration.database(&path)?;
    /// assert_eq!(database.path(), path);
    /// assert_eq!(configuration.find_databases()?.len(), 1);
    /// assert_eq!(configuration.shutdown_timeout(), Duration::from_secs(30));
    /// assert_eq!(configuration.logging().level, tracing::Level::INFO);
    /// assert_eq!(configuration.control_socket(), None);
    ///
    /// let backup = folder.path().join("backup");
    /// let replica = configuration.replica_of(&path)?;
    /// assert_eq!(replica.to_string(), format!("file://{}", backup.display()));
    /// let same = Configuration::replica_at(&replica.to_string(), &policy)?;
    /// # assert_eq!(same.to_string(), replica.to_string());
    /// assert!(configuration.database(Path::new("other.db")).is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn database(&self, path: &Path) -> Result<LocalDatabase> {
        let text = path
            .to_str()
            .ok_or_else(|| Error::invalid(format!("{} is not text", path.display())))?;
        let wanted = paths::named(text)?;
        let found = self
            .find(&wanted, Path::to_owned)
            .or_else(|| self.find(&paths::resolve(&wanted), paths::resolve));
        found.map(LocalDatabase::new).ok_or_else(|| {
            Error::invalid(format!(
                "database not found in config: {}; it has {}",
                wanted.display(),
                self.databases()
                    .map(|path| path.display().to_string())
                    .collect::<Vec<_>>()
                    .join(", ")
            ))
        })
    }

    /// The settings of the database at `wanted`, where `place` says how paths are compared.
    fn find(&self, wanted: &Path, place: impl Fn(&Path) -> PathBuf) -> Option<DatabaseSettings> {
        self.databases.iter().find_map(|entry| match entry {
            Entry::File(settings) => (place(&settings.path) == wanted).then(|| settings.clone()),
            Entry::Directory(directory) => {
                let relative = wanted.strip_prefix(place(&directory.path)).ok()?;
                let path = directory.path.join(relative);
                // A link in the directory may lead out of it.
                let real = paths::resolve(&path);
                let is_inside = real.starts_with(paths::resolve(&directory.path));
                directory.database(&path).filter(|_| is_inside)
            }
        })
    }

    /// The replica of a database, which is named as for [`Configuration::database`].
    ///
    /// # Errors
    ///
    /// As [`Configuration::database`].
    pub fn replica_of(&self, path: &Path) -> Result<Replica> {
        self.database(path)?.replica()
    }

    /// The replica at a URL, such as `file:///backups/app`.
    ///
    /// # Errors
    ///
    /// `Invalid` if the component does not take it for one.
    pub fn replica_at(url: &str, component: &Component) -> Result<Replica> {
        // The component knows the forms of URLs, as part of a configuration. JSON strings are YAML,
        // and a dollar sign is written twice there.
        let url = serde_json::Value::from(url.replace('$', "$$"));
        let source = format!("dbs: [{{path: database, replica: {{url: {url}}}}}]");
        let configuration = Self::read(&source, component, Path::new("/"))?;
        match configuration.databases.first() {
            Some(Entry::File(settings)) => settings.replica.open(),
            _ => Err(Error::internal("a URL did not lead to one replica")),
        }
    }

    fn from_plan(plan: Plan, base: &Path) -> Result<Self> {
        let mut top = SettingsReader::new("the configuration", plan.settings);
        let logging = logging(&mut top)?;
        let shutdown_timeout = top
            .duration("shutdown-sync-timeout")?
            .unwrap_or(Self::SHUTDOWN_TIMEOUT);
        let shutdown_retry = top.duration("shutdown-sync-interval")?;
        let life = life(&mut top)?;
        let control = control(&mut top, base)?;
        let heartbeat = heartbeat(&mut top)?;
        top.finish()?;
        let around = Surroundings {
            base,
            connectivity: Connectivity::default(),
        };
        let databases = plan
            .databases
            .into_iter()
            .map(|plan| {
                let mut entry = entry(plan, &around)?;
                let settings = entry.settings_mut();
                settings.life.clone_from(&life);
                settings.shutdown_retry = shutdown_retry.unwrap_or(settings.shutdown_retry);
                Ok(entry)
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            databases,
            logging,
            shutdown_timeout,
            control,
            heartbeat,
            diagnostics: plan.diagnostics,
        })
    }
}

fn heartbeat(top: &mut SettingsReader) -> Result<Option<HeartbeatSettings>> {
    let url = top.words("heartbeat-url")?;
    let interval = top.duration("heartbeat-interval")?;
    Ok(url.map(|url| HeartbeatSettings {
        url: Secret::new(url),
        interval: interval.unwrap_or(HEARTBEAT_INTERVAL),
    }))
}

fn control(top: &mut SettingsReader, base: &Path) -> Result<Option<ControlSettings>> {
    let enabled = top.flag("socket.enabled")?.unwrap_or(false);
    let path = top.text("socket.path")?;
    let mode = top.number("socket.permissions")?;
    let mode = mode.and_then(|mode| u32::try_from(mode).ok());
    let path = match path {
        Some(path) if !path.is_empty() => paths::expand(&path, base)?,
        _ => PathBuf::from(ControlSettings::PATH),
    };
    Ok(enabled.then(|| ControlSettings {
        path,
        mode: mode.unwrap_or(ControlSettings::MODE),
    }))
}

fn life(top: &mut SettingsReader) -> Result<LifeSettings> {
    let default = LifeSettings::default();
    let levels = (0..LEVELS_MAX)
        .map_while(|index| {
            top.duration(&format!("levels.{index}.interval"))
                .transpose()
        })
        .collect::<Result<_>>()?;
    // Merged files are always verified.
    top.flag("verify-compaction")?;
    Ok(LifeSettings {
        levels,
        snapshot_interval: top
            .duration("snapshot.interval")?
            .unwrap_or(default.snapshot_interval),
        snapshot_retention: top
            .duration("snapshot.retention")?
            .unwrap_or(default.snapshot_retention),
        l0_retention: top
            .duration("l0-retention")?
            .unwrap_or(default.l0_retention),
        validation: top.duration("validation.interval")?,
        l0_retention_check: top
            .duration("l0-retention-check-interval")?
            .unwrap_or(default.l0_retention_check),
        retention: top.flag("retention.enabled")?.unwrap_or(default.retention),
    })
}

fn logging(top: &mut SettingsReader) -> Result<Logging> {
    let default = Logging::default();
    let level = match top.text("logging.level")?.as_deref() {
        None => default.level,
        Some("trace") => tracing::Level::TRACE,
        Some("debug") => tracing::Level::DEBUG,
        Some("info") => tracing::Level::INFO,
        Some("warn" | "warning") => tracing::Level::WARN,
        Some("error") => tracing::Level::ERROR,
        Some(_) => return Err(unknown_word("logging.level")),
    };
    let format = match top.text("logging.type")?.as_deref() {
        None => default.format,
        Some("text") => LogFormat::Text,
        Some("json") => LogFormat::Json,
        Some("pretty") => LogFormat::Pretty,
        Some(_) => return Err(unknown_word("logging.type")),
    };
    Ok(Logging {
        level,
        format,
        stderr: top.flag("logging.stderr")?.unwrap_or(default.stderr),
        source: top.flag("logging.source")?.unwrap_or(default.source),
    })
}

fn unknown_word(name: &str) -> Error {
    Error::invalid(format!(
        "the policy component gives `{name}` a word that this host does not know; use a component \
         that was made for this version"
    ))
}

fn entry(plan: DatabasePlan, around: &Surroundings<'_>) -> Result<Entry> {
    let base = around.base;
    match (&plan.path, &plan.dir) {
        (Some(path), None) => {
            let path = paths::expand(path, base)?;
            let mut reader =
                SettingsReader::new(format!("database {}", path.display()), plan.settings);
            let meta_path = expanded(reader.text("meta-path")?, base)?;
            let settings = database(path, meta_path, &mut reader, plan.replica, around)?;
            reader.finish()?;
            Ok(Entry::File(settings))
        }
        (None, Some(dir)) => {
            let path = paths::expand(dir, base)?;
            let mut reader =
                SettingsReader::new(format!("directory {}", path.display()), plan.settings);
            let directory = DirectorySettings {
                pattern: pattern(&reader.text("pattern")?.unwrap_or_else(|| "*".into()))?,
                recursive: reader.flag("recursive")?.unwrap_or(false),
                watch: reader.flag("watch")?.unwrap_or(false),
                meta_path: expanded(reader.text("meta-path")?, base)?,
                meta_dir: expanded(reader.text("meta-dir")?, base)?,
                database: database(path.clone(), None, &mut reader, plan.replica, around)?,
                path,
            };
            reader.finish()?;
            Ok(Entry::Directory(directory))
        }
        _ => Err(Error::invalid(
            "the policy component gives a database without exactly one of a path and a directory",
        )),
    }
}

fn expanded(text: Option<String>, base: &Path) -> Result<Option<PathBuf>> {
    text.map(|text| paths::expand(&text, base)).transpose()
}

/// The configuration has the syntax of Go's `filepath.Match`, which negates a class by `^`.
fn pattern(text: &str) -> Result<glob::Pattern> {
    glob::Pattern::new(&text.replace("[^", "[!")).map_err(|error| {
        Error::invalid(format!("the pattern {text:?} cannot be read")).with_source(error)
    })
}

fn database(
    path: PathBuf,
    meta_path: Option<PathBuf>,
    reader: &mut SettingsReader,
    replica: ReplicaPlan,
    around: &Surroundings<'_>,
) -> Result<DatabaseSettings> {
    let pages = |pages: Option<u64>, default| {
        pages.map_or(default, |pages| u32::try_from(pages).unwrap_or(u32::MAX))
    };
    let replica = replica::settings(&path, replica, around)?;
    // They cannot contradict those at the top, which are read.
    reader.duration("snapshot.interval")?;
    reader.duration("snapshot.retention")?;
    let default = DatabaseSettings::new(path, replica);
    Ok(DatabaseSettings {
        meta_path,
        monitor_interval: reader
            .duration("monitor-interval")?
            .unwrap_or(default.monitor_interval)
            .max(MONITOR_INTERVAL_MIN),
        checkpoint_interval: reader
            .duration("checkpoint-interval")?
            .unwrap_or(default.checkpoint_interval),
        busy_timeout: reader
            .duration("busy-timeout")?
            .unwrap_or(default.busy_timeout),
        min_checkpoint_pages: pages(
            reader.number("min-checkpoint-page-count")?,
            default.min_checkpoint_pages,
        ),
        truncate_pages: pages(reader.number("truncate-page-n")?, default.truncate_pages),
        max_sync_bytes: reader
            .number("max-sync-wal-bytes")?
            .unwrap_or(default.max_sync_bytes),
        restore_if_missing: reader.flag("restore-if-db-not-exists")?.unwrap_or(false),
        ..default
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::policy::PolicySource;
    use crate::settings::ReplicaPlace;

    fn read(top: &str) -> Configuration {
        let component = Component::load(&PolicySource::Embedded).unwrap();
        let text = format!("{top}dbs:\n  - path: app.db\n    replica: {{path: backup}}\n");
        Configuration::read(&text, &component, Path::new("/srv")).unwrap()
    }

    #[test]
    fn a_heartbeat_is_sent_where_and_as_often_as_the_configuration_says() {
        assert!(read("").heartbeat().is_none());
        for (more, interval) in [("", 300), ("heartbeat-interval: 2m\n", 120)] {
            let configuration = read(&format!("heartbeat-url: https://example.com/x\n{more}"));
            let heartbeat = configuration.heartbeat().unwrap();
            assert_eq!(heartbeat.url.expose(), "https://example.com/x");
            assert_eq!(heartbeat.interval.as_secs(), interval);
            assert_eq!(configuration.diagnostics(), []);
        }
    }

    #[test]
    fn the_settings_of_a_database_are_taken_from_the_plan() {
        let configuration = read("levels: [{interval: 10s}]\nl0-retention: 1m\n");
        let [Entry::File(settings)] = &configuration.databases[..] else {
            panic!("one database file")
        };
        assert_eq!(settings.path, Path::new("/srv/app.db"));
        assert_eq!(settings.life.levels, [Duration::from_secs(10)]);
        assert_eq!(settings.life.l0_retention, Duration::from_secs(60));
        assert!(configuration.replica_of(Path::new("/srv/app.db")).is_ok());
        assert!(configuration.replica_of(Path::new("/srv/b.db")).is_err());
    }

    #[test]
    fn d4_the_top_is_the_default_of_every_replica_in_the_units_of_go() {
        let component = Component::load(&PolicySource::Embedded).unwrap();
        let text = "region: eu-central-1\nsync-interval: 1m30s\npart-size: 6MiB\n\
                    access-key-id: id\nsecret-access-key: key\n\
                    dbs:\n\
                    - {path: a.db, replica: {type: s3, bucket: b, path: p}}\n\
                    - {path: b.db, replica: {type: s3, bucket: b, path: q, \
                       region: us-west-2, sync-interval: 2s, part-size: 7MB}}\n\
                    - {path: c.db, replica: {path: r}}\n";
        let configuration = Configuration::read(text, &component, Path::new("/")).unwrap();
        let found: Vec<_> = configuration
            .databases
            .iter()
            .map(|entry| {
                let replica = entry.replica();
                let cloud = match &replica.place {
                    ReplicaPlace::S3(place) => {
                        Some((place.region.clone().unwrap(), place.part_len.unwrap()))
                    }
                    _ => None,
                };
                (replica.sync_interval.as_secs(), cloud)
            })
            .collect();
        assert_eq!(
            found,
            [
                (90, Some(("eu-central-1".to_owned(), 6 << 20))),
                (2, Some(("us-west-2".to_owned(), 7_000_000))),
                (90, None),
            ]
        );
    }

    #[test]
    fn the_control_socket_is_where_the_configuration_has_it_and_off_unless_it_is_asked_for() {
        let expected = |path: &str, mode| Some((PathBuf::from(path), mode));
        for (text, control) in [
            ("", None),
            ("socket: {path: a.sock}\n", None),
            (
                "socket: {enabled: true}\n",
                expected("/var/run/litestream.sock", 0o600),
            ),
            (
                "socket: {enabled: true, path: a.sock, permissions: 0660}\n",
                expected("/srv/a.sock", 0o660),
            ),
        ] {
            let configuration = read(text);
            let found = configuration.control();
            assert_eq!(
                found.map(|found| (found.path.clone(), found.mode)),
                control,
                "{text}"
            );
            assert_eq!(configuration.diagnostics(), [], "{text}");
        }
    }

    #[test]
    fn a_database_is_found_in_its_directory_under_every_name_it_has() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path();
        std::fs::create_dir_all(base.join("data/deep")).unwrap();
        std::os::unix::fs::symlink("data", base.join("linked")).unwrap();
        std::os::unix::fs::symlink("data/a.db", base.join("other-name.db")).unwrap();
        std::fs::write(base.join("data/a.db"), "").unwrap();
        let component = Component::load(&PolicySource::Embedded).unwrap();
        let text = "dbs:\n  - {dir: data, pattern: '*.db', recursive: true, replica: {path: b}}\n";
        let configuration = Configuration::read(text, &component, base).unwrap();
        for (name, expected) in [
            ("data/a.db", "data/a.db"),
            ("data/../data/./a.db", "data/a.db"),
            ("linked/a.db", "data/a.db"),
            ("other-name.db", "data/a.db"),
            ("linked/deep/not-there.db", "data/deep/not-there.db"),
        ] {
            let path = base.join(name);
            let url = PathBuf::from(format!("sqlite://{}", path.display()));
            for path in [path, url] {
                let found = configuration.database(&path).unwrap();
                assert_eq!(found.path(), base.join(expected), "{}", path.display());
            }
        }
        std::os::unix::fs::symlink(base, base.join("data/out")).unwrap();
        std::fs::write(base.join("outside.db"), "").unwrap();
        for name in [
            "data/a.txt",
            "a.db",
            "linked/../a.db",
            "data/out/outside.db",
        ] {
            let error = configuration.database(&base.join(name)).unwrap_err();
            assert!(
                error.to_string().contains("database not found in config"),
                "{name}: {error}"
            );
        }
    }
}
