//! The code of `docs/embedding.md`: every block of the page is a part of this file, or of the
//! example that it begins with, and is run here.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "as the page does"
)]

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use lockkeeper::config::{ConfigStore, KeyFile, KeyFileCheck, LITESTREAM_SCOPE};
use lockkeeper::policy::StoredPolicies;
use lockkeeper::restore::{RestoreOptions, restore};
use lockkeeper::store::Replica;
use lockkeeper::{
    Daemon, DaemonResult, Daemons, DatabaseState, ErrorKind, Lockkeeper, Replication, Signals,
    StopOrder,
};
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rustix::process::{Signal, getpid, kill_process};
use tokio::time::timeout;

type BoxError = Box<dyn std::error::Error>;

const PAGE: &str = include_str!("../../docs/embedding.md");
const EXAMPLE: &str = include_str!("../../examples/embed/src/main.rs");
const WORKSPACE: &str = include_str!("../../Cargo.toml");
/// A wait that only ends a test that would otherwise hang.
const PATIENCE: Duration = Duration::from_secs(120);

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open(path)?;
    db.busy_timeout(Duration::from_secs(5))?;
    db.pragma_update(None, "journal_mode", "wal")?;
    db.pragma_update(None, "synchronous", "normal")?;
    db.pragma_update(None, "wal_autocheckpoint", 0)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(db)
}

/// A database with a table, and replication of it into a folder.
async fn replicated(folder: &Path) -> (Connection, Lockkeeper) {
    let db = open(&folder.join("app.db")).unwrap();
    db.execute_batch("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
        .unwrap();
    (db, start(folder).await.unwrap())
}

async fn start(folder: &Path) -> lockkeeper::Result<Lockkeeper> {
    Lockkeeper::builder()
        .config("dbs:\n  - path: app.db\n    replica: {path: backup}\n")
        .base_dir(folder) // where relative paths start
        .start()
        .await
}

/// The orders that a restore brings back.
async fn orders(folder: &Path) -> i64 {
    let path = folder.join("compared.db");
    let replica = Replica::file(folder.join("backup")).unwrap();
    restore(&replica, RestoreOptions::new(&path)).await.unwrap();
    let db = Connection::open(&path).unwrap();
    let count = db.query_row("SELECT count(*) FROM orders", [], |row| row.get(0));
    count.unwrap()
}

fn create(database: &Path, key: &Path) -> lockkeeper::Result<()> {
    KeyFile::generate().write(key)?;
    let identities = KeyFile::read(key, KeyFileCheck::Strict)?;
    let store = ConfigStore::create(database, &identities)?;
    let text = "dbs:\n  - path: app.db\n    replica: {path: backup}\n";
    store.save(
        &identities,
        LITESTREAM_SCOPE,
        text.as_bytes(),
        "yml",
        "the first",
    )
}

async fn start_as_stored(database: &Path, key: &Path) -> lockkeeper::Result<Lockkeeper> {
    let identities = || KeyFile::read(key, KeyFileCheck::Strict);
    Lockkeeper::builder()
        .config_store(database, identities()?)
        .stored_policies(StoredPolicies::new(database, identities()?))
        .base_dir(database.parent().unwrap_or(Path::new("/")))
        .start()
        .await
}

#[tokio::test]
async fn a_stored_configuration_is_replicated_by() {
    let folder = tempfile::tempdir().unwrap();
    let (database, key) = (folder.path().join("app.db"), folder.path().join("key.txt"));
    create(&database, &key).unwrap();
    let keeper = start_as_stored(&database, &key).await.unwrap();
    timeout(PATIENCE, keeper.sync()).await.unwrap().unwrap();
    keeper.stop(PATIENCE).await.unwrap();
    assert!(folder.path().join("backup/ltx/0").is_dir());
}

/// Whether the replica has the order when this returns. It is committed in any case.
async fn order(db: &Connection, keeper: &Lockkeeper, path: &Path) -> Result<bool, BoxError> {
    db.execute("INSERT INTO orders DEFAULT VALUES", [])?; // committed
    match timeout(Duration::from_secs(5), keeper.sync_database(path)).await {
        Ok(synced) => Ok(synced?.durable.is_some()),
        Err(_) => Ok(false), // the replica does not answer; it is sent later
    }
}

#[tokio::test]
async fn who_waits_knows_that_an_order_is_in_the_replica() {
    let folder = tempfile::tempdir().unwrap();
    let (db, keeper) = replicated(folder.path()).await;
    let path = folder.path().join("app.db");
    assert!(order(&db, &keeper, &path).await.unwrap());
    assert_eq!(orders(folder.path()).await, 1);
}

fn health(keeper: &Lockkeeper) -> (bool, String) {
    let status = keeper.status();
    for database in &status.databases {
        let (path, lag) = (database.path.display(), database.lag());
        println!("{path}: {:?} behind, durable {:?}", lag, database.durable);
    }
    let problems = status.problems();
    (problems.is_empty(), problems.join("\n"))
}

async fn stop(keeper: Lockkeeper) -> bool {
    let deadline = keeper.shutdown_timeout(); // or what the application has
    match keeper.stop(deadline).await {
        Ok(()) => true,
        Err(error) => {
            eprintln!("{error}"); // names what is not durable
            false
        }
    }
}

#[tokio::test]
async fn all_is_well_until_the_database_is_gone_and_a_stop_sends_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let (db, keeper) = replicated(folder.path()).await;
    timeout(PATIENCE, keeper.sync()).await.unwrap().unwrap();
    assert_eq!(health(&keeper), (true, String::new()));
    db.execute_batch("INSERT INTO orders DEFAULT VALUES")
        .unwrap();
    assert!(stop(keeper).await);
    assert_eq!(orders(folder.path()).await, 1);

    let without_database = folder.path().join("other");
    std::fs::create_dir(&without_database).unwrap();
    let keeper = start(&without_database).await.unwrap();
    let absent = async {
        while keeper.status().databases[0].state != DatabaseState::Absent {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, absent).await.unwrap();
    let (is_well, why) = health(&keeper);
    assert!(!is_well && why.contains("there is no such file"), "{why}");
}

struct Shop {
    open: bool,
}

#[async_trait]
impl Daemon for Shop {
    fn name(&self) -> &str {
        "the shop"
    }

    fn stop_order(&self) -> StopOrder {
        StopOrder::First // what it commits while it ends is still replicated
    }

    async fn start(&mut self) -> DaemonResult {
        self.open = true;
        Ok(())
    }

    async fn stop(&mut self, _deadline: Duration) -> DaemonResult {
        self.open = false;
        Ok(())
    }
}

async fn run(folder: &Path) -> lockkeeper::Result<()> {
    let builder = Lockkeeper::builder()
        .config("dbs:\n  - path: app.db\n    replica: {path: backup}\n")
        .base_dir(folder);
    let signals = Signals::listen()?;
    let replication = Replication::new(builder);
    let handle = replication.handle(); // for a status page: handle.get()?.status()
    assert!(handle.get().is_none()); // it does not run yet
    Daemons::new()
        .with(replication)
        .with(Shop { open: false })
        .stop_within(|| Duration::from_secs(15))
        .run(signals)
        .await
}

#[tokio::test]
async fn a_signal_ends_the_shop_and_then_the_replication() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(&folder.path().join("app.db")).unwrap();
    db.execute_batch("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
        .unwrap();
    let end_it = async {
        // Signals end nobody who listens, and there is a file only after that.
        while !folder.path().join("backup/ltx/0").is_dir() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        db.execute_batch("INSERT INTO orders DEFAULT VALUES")
            .unwrap();
        kill_process(getpid(), Signal::TERM).unwrap();
    };
    let both = futures::future::join(run(folder.path()), end_it);
    timeout(PATIENCE, both).await.unwrap().0.unwrap();
    assert_eq!(orders(folder.path()).await, 1);
}

async fn two(ours: &Path, theirs: &Path) -> lockkeeper::Result<()> {
    let (first, second) = (start(ours).await?, start(theirs).await?);
    first.sync().await?;
    second.sync().await?;
    second.stop(Duration::from_secs(15)).await?;
    first.stop(Duration::from_secs(15)).await
}

#[tokio::test]
async fn two_instances_replicate_two_databases_and_never_the_same() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for folder in [&ours, &theirs] {
        let db = open(&folder.path().join("app.db")).unwrap();
        db.execute_batch("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
            .unwrap();
    }
    let both = two(ours.path(), theirs.path());
    timeout(PATIENCE, both).await.unwrap().unwrap();
    assert!(theirs.path().join("backup/ltx/0").is_dir());

    let first = start(ours.path()).await.unwrap();
    timeout(PATIENCE, first.sync()).await.unwrap().unwrap();
    let error = start(ours.path()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
}

async fn bring_back(folder: &Path) -> lockkeeper::Result<()> {
    let replica = Replica::file(folder.join("backup"))?;
    let options = RestoreOptions::new(folder.join("restored.db"));
    let restored = restore(&replica, options).await?;
    println!("restored up to {}", restored.txid);
    Ok(())
}

#[tokio::test]
async fn a_restore_makes_a_database_and_never_overwrites_one() {
    let folder = tempfile::tempdir().unwrap();
    let (_db, keeper) = replicated(folder.path()).await;
    stop(keeper).await;
    bring_back(folder.path()).await.unwrap();
    assert!(folder.path().join("restored.db").is_file());
    let error = bring_back(folder.path()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}

fn advice(error: &lockkeeper::Error) -> String {
    let what = match error.kind() {
        ErrorKind::Unavailable => "try again",
        ErrorKind::Invalid => "correct the call or the configuration",
        ErrorKind::Corrupt => "restore, or reset",
        ErrorKind::Conflict => "somebody else has it",
        ErrorKind::Fenced => "another writer took the replica",
        _ => "report it",
    };
    for found in error.diagnostics() {
        eprintln!("{found}"); // each problem of a configuration, with its line and column
    }
    format!("{error}: {what}")
}

#[tokio::test]
async fn an_error_says_what_to_do() {
    let builder = Lockkeeper::builder().config("dbs:\n  - pth: app.db\n");
    let error = builder.start().await.unwrap_err();
    assert!(!error.diagnostics().is_empty());
    let advice = advice(&error);
    assert!(advice.ends_with(": correct the call or the configuration"));
}

/// The lines of the blocks of a page in one language, without their indentation.
fn blocks(language: &str) -> Vec<Vec<&'static str>> {
    let mut blocks = Vec::new();
    let mut lines = PAGE.lines();
    while let Some(line) = lines.next() {
        if line == format!("```{language}") {
            let block = lines.by_ref().take_while(|line| *line != "```");
            blocks.push(block.map(str::trim).collect());
        }
    }
    blocks
}

#[test]
fn every_block_of_the_page_is_run() {
    let trimmed = |text: &'static str| text.lines().map(str::trim).collect::<Vec<_>>();
    let sources = [trimmed(include_str!("embedding.rs")), trimmed(EXAMPLE)];
    let found = blocks("rust");
    assert!(found.len() >= 9, "{} blocks", found.len());
    for block in found {
        let mut sources = sources.iter();
        let is_there = sources.any(|source| source.windows(block.len()).any(|at| *at == block));
        assert!(is_there, "not in this file:\n{}", block.join("\n"));
    }
}

#[test]
fn the_page_names_the_versions_that_lockkeeper_uses() {
    for line in blocks("toml").concat() {
        let Some((name, _)) = line
            .split_once(" = ")
            .filter(|(name, _)| *name != "lockkeeper")
        else {
            continue;
        };
        let version = |text: &'static str| {
            let line = text
                .lines()
                .find(|line| line.starts_with(&format!("{name} = ")));
            line.and_then(|line| line.split('"').nth(1)).unwrap()
        };
        let (named, used) = (version(line), version(WORKSPACE));
        assert!(used.starts_with(named), "{line}");
    }
}
