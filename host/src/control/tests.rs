//! Replication that runs, asked over its socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::*;
use crate::{ControlState, ErrorKind, Lockkeeper};

const DEADLINE: Duration = Duration::from_secs(30);

/// Two databases; the replica of the second is in the way of a file.
const CONFIG: &str = "
socket: {enabled: true, path: control.sock}
dbs:
  - path: app.db
    replica: {path: replica, sync-interval: 50ms}
  - path: blocked.db
    replica: {path: file/replica, sync-interval: 50ms}
";

fn fixture() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "in the way").unwrap();
    dir
}

fn application(dir: &Path, name: &str) -> Connection {
    let app = Connection::open(dir.join(name)).unwrap();
    app.pragma_update(None, "journal_mode", "wal").unwrap();
    app.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1)")
        .unwrap();
    app
}

async fn start(dir: &Path, config: &str) -> Lockkeeper {
    let builder = Lockkeeper::builder().config(config).base_dir(dir);
    builder.start().await.unwrap()
}

fn socket(dir: &Path) -> PathBuf {
    dir.join("control.sock")
}

fn client(dir: &Path) -> Client {
    Client::new(socket(dir), DEADLINE)
}

fn request(path: &Path, wait: bool) -> SyncRequest {
    SyncRequest {
        path: path.display().to_string(),
        wait,
        timeout: 30,
    }
}

/// Sends bytes; returns what comes back until the connection is closed.
async fn send(dir: &Path, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(socket(dir)).await.unwrap();
    // An answer may come before everything was taken.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(DEADLINE, read).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_sync_tells_how_far_the_database_and_its_replica_are() {
    let dir = fixture();
    let app = application(dir.path(), "app.db");
    let _keeper = start(dir.path(), CONFIG).await;
    let (client, path) = (client(dir.path()), dir.path().join("app.db"));
    client.sync(&request(&path, true)).await.unwrap();
    app.execute_batch("INSERT INTO t VALUES (2)").unwrap();
    let synced = client.sync(&request(&path, true)).await.unwrap();
    assert_eq!(synced.path, path);
    assert_eq!(synced.replicated_txid, synced.txid);
    assert!(synced.status == "synced" || synced.status == "no_change");
    let again = client.sync(&request(&path, false)).await.unwrap();
    assert_eq!(
        (again.status.as_str(), again.txid),
        ("no_change", synced.txid)
    );
    let name = path.display().to_string();
    assert_eq!(client.txid(&name).await.unwrap().txid, synced.txid);
    assert_eq!(
        dir.path().join("replica/ltx/0").read_dir().unwrap().count(),
        usize::try_from(synced.txid).unwrap()
    );
}

#[tokio::test]
async fn a_verification_tells_what_was_proven_or_what_is_wrong() {
    let dir = fixture();
    let app = application(dir.path(), "app.db");
    let keeper = start(dir.path(), CONFIG).await;
    let (client, path) = (client(dir.path()), dir.path().join("app.db"));
    keeper.snapshot(&path).await.unwrap();
    app.execute_batch("INSERT INTO t VALUES (2)").unwrap();
    let request = VerifyRequest {
        path: path.display().to_string(),
        timeout: 0,
    };
    let proven = client.verify(&request).await.unwrap();
    let last = client.txid(&request.path).await.unwrap().txid;
    let txid = format!("{last:016x}");
    assert_eq!((proven.path, proven.error), (path, None));
    assert_eq!(proven.txid.as_ref(), Some(&txid));

    let newest = dir.path().join(format!("replica/ltx/0/{txid}-{txid}.ltx"));
    std::fs::remove_file(newest).unwrap();
    let failed = client.verify(&request).await.unwrap();
    let why = failed.error.unwrap();
    assert!(failed.txid.is_none() && why.contains(&txid), "{why}");
    let unknown = VerifyRequest {
        path: "/no/such.db".into(),
        timeout: 0,
    };
    let error = client.verify(&unknown).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}

#[tokio::test]
async fn a_sync_waits_for_the_replica_only_if_it_is_asked_to_and_says_why_it_ends() {
    let dir = fixture();
    let _apps = ["app.db", "blocked.db"].map(|name| application(dir.path(), name));
    // Captured before the replica was lost, as it must have been seen once.
    let config = CONFIG.replace("file/replica", "folder/replica");
    let keeper = start(dir.path(), &config).await;
    keeper.sync().await.unwrap();
    keeper.stop(DEADLINE).await.unwrap();
    let _keeper = start(dir.path(), CONFIG).await;
    let (client, path) = (client(dir.path()), dir.path().join("blocked.db"));
    let app = Connection::open(&path).unwrap();
    app.execute_batch("INSERT INTO t VALUES (2)").unwrap();
    let local = client.sync(&request(&path, false)).await.unwrap();
    assert!(local.replicated_txid < local.txid, "{local:?}");
    let impatient = SyncRequest {
        timeout: 1,
        ..request(&path, true)
    };
    let error = client.sync(&impatient).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let text = error.to_string();
    assert!(
        text.contains("not done in 1 s") && text.contains("durable to none"),
        "{text}"
    );
    let well = dir.path().join("app.db");
    client.sync(&request(&well, true)).await.unwrap();
    let report = client.status().await.unwrap();
    let states: Vec<_> = report
        .databases
        .iter()
        .map(|at| at.state.as_str())
        .collect();
    assert_eq!(states, ["replicating", "replica-failing"]);
    assert!(report.databases[1].error.is_some());
    assert_eq!(report.databases[1].durable, None);
    assert_eq!(report.databases[0].durable, report.databases[0].spooled);
    let list = client.list().await.unwrap();
    assert!(list.databases[0].last_sync_at.is_some());
    assert!(list.databases[1].last_sync_at.is_none());
}

#[tokio::test]
async fn a_database_that_is_not_replicated_and_a_request_without_sense_are_refused() {
    let dir = fixture();
    let _app = application(dir.path(), "app.db");
    let _keeper = start(dir.path(), CONFIG).await;
    let post = |body: &str| {
        let length = body.len();
        format!("POST /sync HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}")
    };
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
    for (bytes, status, error) in [
        (post("{}"), "400", "path required"),
        (post("nonsense"), "400", "invalid request body"),
        (post(r#"{"path":7}"#), "400", "invalid request body"),
        (
            post(r#"{"path":"/x.db"}"#),
            "404",
            "database not found: /x.db",
        ),
        (get("/txid?path=/x.db"), "404", "database not found: /x.db"),
        (get("/txid?other=1"), "400", "path required"),
        (get("/sync"), "405", "use POST"),
        (get("/start"), "404", "there is no /start"),
        (
            "DELETE /list HTTP/1.1\r\nHost: x\r\n\r\n".into(),
            "405",
            "use GET",
        ),
        (
            post(&format!("{{}}{}", " ".repeat(100_000))),
            "400",
            "invalid request body",
        ),
    ] {
        let answer = send(dir.path(), bytes.as_bytes()).await;
        let what: String = bytes.chars().take(60).collect();
        let status = format!("HTTP/1.1 {status} ");
        let error = format!("{{\"error\":\"{error}");
        assert!(answer.starts_with(&status), "{what}: {answer}");
        assert!(answer.contains(&error), "{what}: {answer}");
    }
}

#[tokio::test]
async fn connections_that_say_nothing_and_bytes_that_are_no_request_hold_up_nobody() {
    let dir = fixture();
    let _app = application(dir.path(), "app.db");
    let _keeper = start(dir.path(), CONFIG).await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(UnixStream::connect(socket(dir.path())).await.unwrap());
    }
    let head = format!("GET /info HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(100_000));
    for bytes in [b"\x16\x03\x01nonsense\r\n\r\n".as_slice(), head.as_bytes()] {
        let answer = send(dir.path(), bytes).await;
        assert!(!answer.contains("200 OK"), "{answer}");
    }
    let info = client(dir.path()).info().await.unwrap();
    assert_eq!((info.pid, info.database_count), (std::process::id(), 2));
}

#[tokio::test]
async fn the_socket_is_there_from_the_start_to_the_stop() {
    let dir = fixture();
    let _app = application(dir.path(), "app.db");
    let keeper = start(dir.path(), &CONFIG.replace("file/", "folder/")).await;
    assert_eq!(
        keeper.status().control,
        ControlState::Listening(socket(dir.path()))
    );
    client(dir.path()).info().await.unwrap();
    keeper
        .sync_database(dir.path().join("app.db"))
        .await
        .unwrap();
    let _ = keeper.stop(DEADLINE).await;
    assert!(!socket(dir.path()).exists());
    let error = client(dir.path()).info().await.unwrap_err().to_string();
    assert!(
        error.starts_with("failed to connect to control socket"),
        "{error}"
    );
}

#[tokio::test]
async fn replication_goes_on_without_a_socket_and_says_that_there_is_none() {
    let dir = fixture();
    let _app = application(dir.path(), "app.db");
    let config = CONFIG.replace("control.sock", "no/such/folder.sock");
    let keeper = start(dir.path(), &config).await;
    let ControlState::Failing(why) = keeper.status().control else {
        panic!("{:?}", keeper.status().control)
    };
    assert!(why.contains("no/such/folder.sock"), "{why}");
    let synced = keeper.sync_database(dir.path().join("app.db")).await;
    assert!(synced.unwrap().durable.is_some());
}

#[tokio::test]
async fn a_process_that_does_not_answer_is_waited_for_no_longer_than_the_timeout() {
    let dir = fixture();
    let _listener = std::os::unix::net::UnixListener::bind(socket(dir.path())).unwrap();
    let client = Client::new(socket(dir.path()), Duration::from_millis(50));
    let answer = tokio::time::timeout(DEADLINE, client.info()).await;
    let error = answer.unwrap().unwrap_err().to_string();
    assert!(error.contains("no answer within 50ms"), "{error}");
}

#[tokio::test]
async fn a_policy_is_installed_over_the_socket_and_taken_back() {
    let dir = fixture();
    let _app = application(dir.path(), "app.db");
    let keeper = start(dir.path(), CONFIG).await;
    let (client, embedded) = (client(dir.path()), keeper.deciding().component.unwrap());
    let error = client.roll_back_policy().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let error = client.install_policy(b"no".to_vec(), None, 0, 1).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Invalid);
    let shown = client.policy().await.unwrap();
    assert!(shown.alarm.unwrap().contains("was not installed"));
    let guest = crate::policy::testing::Guest::default();
    let component = guest.load().unwrap();
    let (bytes, digest) = (guest.build(), Some(component.digest()));
    let installed = client.install_policy(bytes, digest, 0, 1).await.unwrap();
    assert!(installed.changed && installed.tested > 10);
    assert_eq!(installed.previous.unwrap().sha256, embedded.digest);
    let report = client.status().await.unwrap().deciding;
    assert_eq!(report.component.unwrap().sha256, component.digest());
    assert_eq!(report.alarm, None);
    let back = client.roll_back_policy().await.unwrap();
    assert_eq!(back.component.unwrap().sha256, embedded.digest);
    let error = client.reload_policy().await.unwrap_err();
    assert!(
        error.to_string().contains("without a configuration store"),
        "{error}"
    );
    let answer = send(
        dir.path(),
        b"GET /policy/install HTTP/1.1\r\nHost: x\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
}
