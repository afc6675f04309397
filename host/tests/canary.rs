//! No secret is ever printed: not in a log at any level, not in an error, not by `Debug`, not in a
//! panic. Every store here is one that refuses everything, and quotes what it was asked.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Debug;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lockkeeper::config::{ConfigStore, KeyFile, KeyFileCheck, Passphrase, RecoveryKit};
use lockkeeper::logs::{LogDatabase, LogSettings};
use lockkeeper::policy::{Component, PolicySource};
use lockkeeper::{Configuration, Lockkeeper};
use tracing::Dispatch;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;

/// Part of every secret.
const CANARY: &str = "ca7a27";
/// The same, where a secret has to be in base64.
const CANARY_BASE64: &str = "Y2E3YTI3";
/// Requests that a store has refused before a test is content.
const REFUSALS: usize = 3;
/// A wait that only ends a test that would otherwise hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// Everything that anybody was shown.
#[derive(Clone, Default)]
struct Shown(Arc<Mutex<Vec<u8>>>);

impl Shown {
    fn add(&self, value: impl Debug) {
        let mut shown = self.clone();
        writeln!(shown, "{value:?}").unwrap();
        // A value that is in the message of a panic is shown too.
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            std::panic::panic_any(format!("{value:#?}"));
        }));
        let message = panicked.unwrap_err().downcast::<String>().unwrap();
        writeln!(shown, "{message}").unwrap();
    }

    fn error(&self, error: &dyn std::error::Error) {
        self.add(format!("{error} {error:?}"));
    }

    #[track_caller]
    fn has_no_secret(&self, wanted: &str) {
        let bytes = self.0.lock().unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains(wanted), "nothing was shown: {text}");
        let is_leak = |line: &&str| line.contains(CANARY) || line.contains(CANARY_BASE64);
        let leak = text.lines().find(is_leak);
        assert_eq!(leak, None);
    }
}

impl Write for Shown {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A subscriber that hides nothing: every level of every library, as text and in a database.
fn everything(shown: &Shown, log: &LogDatabase) -> Dispatch {
    let shown = shown.clone();
    let lines = tracing_subscriber::fmt::layer().with_writer(move || shown.clone());
    tracing_subscriber::registry()
        .with(lines)
        .with(log.layer())
        .into()
}

fn log(folder: &Path) -> LogDatabase {
    let mut settings = LogSettings::at(folder.join("logs.db"));
    settings.level = LevelFilter::TRACE;
    settings.queue_max = 100_000;
    LogDatabase::open(settings).unwrap()
}

/// A server that answers every request with 403 and the line and the headers it came with.
fn refusing() -> (SocketAddr, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (refused, refusals) = sync_channel(10_000);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let refused = refused.clone();
            std::thread::spawn(move || refuse(&stream, &refused));
        }
    });
    (address, refusals)
}

fn refuse(mut stream: &TcpStream, refused: &SyncSender<()>) {
    let mut head = String::new();
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    for line in lines.take_while(|line| !line.is_empty()) {
        head.push_str(&line.replace('<', " "));
        head.push(' ');
    }
    let body = format!("<Error><Code>AccessDenied</Code><Message>{head}</Message></Error>");
    // Who hung up is not interested.
    let _ = write!(
        stream,
        "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let _ = refused.send(());
}

/// Replicates by a configuration whose store refuses, and shows everything there is to see.
async fn replicate(replica: &str) -> Shown {
    let folder = tempfile::tempdir().unwrap();
    let app = rusqlite::Connection::open(folder.path().join("app.db")).unwrap();
    app.pragma_update(None, "journal_mode", "wal").unwrap();
    app.execute_batch("CREATE TABLE t (x)").unwrap();
    let (address, refusals) = refusing();
    let replica = replica.replace("ADDRESS", &address.to_string());
    let text = format!("dbs: [{{path: app.db, replica: {replica}}}]\n");
    let (shown, log) = (Shown::default(), log(folder.path()));
    let dispatch = everything(&shown, &log);
    let guard = tracing::dispatcher::set_default(&dispatch);
    let builder = Lockkeeper::builder()
        .config(text)
        .base_dir(folder.path())
        .log_to(dispatch.clone());
    shown.add(&builder);
    shown.add(builder.read().unwrap());
    let keeper = builder.start().await.unwrap();
    for _ in 0..REFUSALS {
        refusals.recv_timeout(PATIENCE).unwrap();
    }
    shown.add(&keeper);
    shown.add(keeper.status());
    shown.error(&keeper.stop(Duration::ZERO).await.unwrap_err());
    drop(guard);
    // What replication says after this comes too late for the log.
    log.close();
    for name in ["logs.db", "logs.db-wal"] {
        let bytes = std::fs::read(folder.path().join(name)).unwrap_or_default();
        shown.clone().write_all(&bytes).unwrap();
    }
    shown
}

#[tokio::test]
async fn the_keys_of_s3_are_never_shown() {
    let shown = replicate(
        "{type: s3, bucket: b, path: p, region: r, endpoint: 'http://ADDRESS', \
         access-key-id: ca7a27-id, secret-access-key: ca7a27-secret, \
         sse-customer-key: Y2E3YTI3Y2E3YTI3Y2E3YTI3Y2E3YTI3Y2E3YTI3Y2E=}",
    )
    .await;
    shown.has_no_secret("not durable");
}

#[tokio::test]
async fn the_sas_token_of_azure_is_never_shown() {
    let shown = replicate(
        "{type: abs, account-name: a, bucket: c, path: p, endpoint: 'http://ADDRESS', \
         sas-token: 'sv=2024-01-01&sig=ca7a27'}",
    )
    .await;
    shown.has_no_secret("not durable");
}

#[tokio::test]
async fn the_account_key_of_azure_is_never_shown() {
    let shown = replicate(
        "{type: abs, account-name: a, bucket: c, path: p, endpoint: 'http://ADDRESS', \
         account-key: 'ca7a27ca7a27'}",
    )
    .await;
    shown.has_no_secret("not durable");
}

#[test]
fn a_configuration_that_is_refused_does_not_quote_its_secrets() {
    let shown = Shown::default();
    let component = Component::load(&PolicySource::Embedded).unwrap();
    for replica in [
        "{type: s3, bucket: b, secret-access-key: [ca7a27]}",
        "{type: s3, bucket: b, path: p, nonsense: 1, secret-access-key: ca7a27}",
        "{type: abs, sas-token: {ca7a27: 1}}",
        "{type: gs, bucket: b, service-account: ca7a27, access-key-id: 1}",
        "{url: 's3://user:ca7a27@b/p', secret-access-key: ca7a27}",
    ] {
        let text = format!("dbs: [{{path: app.db, replica: {replica}}}]\n");
        match Configuration::read(&text, &component, Path::new("/srv")) {
            Err(error) => shown.error(&error),
            Ok(configuration) => {
                shown.add(&configuration);
                if let Err(error) = configuration.replica_of(Path::new("/srv/app.db")) {
                    shown.error(&error);
                }
            }
        }
    }
    shown.has_no_secret("not valid");
}

#[test]
fn keys_and_passphrases_are_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (shown, log) = (Shown::default(), log(folder.path()));
    let key = KeyFile::generate();
    key.write(path("key")).unwrap();
    shown.add(&key);
    std::fs::write(path("bad"), format!("{}ca7a27\n", key.text())).unwrap();
    std::fs::write(path("mixed"), format!("ca7a27 {}\n", key.text())).unwrap();
    let words = || Passphrase::for_new_kit("ca7a27 correct horse".to_owned()).unwrap();
    tracing::dispatcher::with_default(&everything(&shown, &log), || {
        for name in ["bad", "mixed"] {
            let read = KeyFile::read(path(name), KeyFileCheck::Override);
            shown.error(&read.unwrap_err());
        }
        let identities = KeyFile::read(path("key"), KeyFileCheck::Strict).unwrap();
        shown.add(&identities);
        let store = ConfigStore::create(path("app.db"), &identities).unwrap();
        store
            .save(&identities, "litestream", b"ca7a27", "yml", "")
            .unwrap();
        shown.add((&store, store.get(&identities, "litestream", 0).unwrap()));
        let kit = RecoveryKit::collect(&store, &identities).unwrap();
        let sealed = kit.seal(&words()).unwrap();
        shown.add((&kit, words()));
        shown.error(&RecoveryKit::open(&sealed[1..], &words()).unwrap_err());
        let wrong = Passphrase::new("ca7a27".to_owned());
        shown.error(&RecoveryKit::open(&sealed, &wrong).unwrap_err());
    });
    drop(log);
    shown
        .clone()
        .write_all(&std::fs::read(path("logs.db")).unwrap())
        .unwrap();
    shown.has_no_secret("Passphrase");
    let bytes = shown.0.lock().unwrap();
    let text = String::from_utf8_lossy(&bytes);
    assert!(!text.contains("AGE-SECRET-KEY"), "{text}");
}
