//! Heartbeats to a server of the test's own.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, sync_channel};

use rusqlite::Connection;

use super::*;
use crate::Lockkeeper;
use crate::secret::Secret;

const DEADLINE: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_millis(20);

/// A server that says when it was asked.
fn server() -> (String, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/ping", listener.local_addr().unwrap());
    let (asked, told) = sync_channel(1_000);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            if asked.send(()).is_err() {
                return;
            }
        }
    });
    (url, told)
}

async fn until(fleet: &Fleet, wanted: impl Fn(&HeartbeatState) -> bool) {
    let waited = async {
        while !wanted(&fleet.status().heartbeat) {
            tokio::time::sleep(SOON).await;
        }
    };
    let waited = timeout(DEADLINE, waited).await;
    waited.unwrap_or_else(|_| panic!("{:?}", fleet.status().heartbeat));
}

#[tokio::test]
async fn heartbeats_stop_while_a_commit_is_not_durable_and_come_again_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let app = Connection::open(dir.path().join("app.db")).unwrap();
    app.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE t (x)")
        .unwrap();
    let config = "dbs: [{path: app.db, replica: {path: replica}}]\n";
    let builder = Lockkeeper::builder().config(config).base_dir(dir.path());
    let keeper = builder.start().await.unwrap();
    let (url, asked) = server();
    let settings = HeartbeatSettings {
        url: Secret::new(url),
        interval: SOON,
    };
    let fleet = Arc::clone(&keeper.fleet);
    let beating = tokio::spawn(beat(settings, Arc::clone(&fleet), SOON));
    until(&fleet, |state| matches!(state, HeartbeatState::Sent(_))).await;
    assert!(asked.try_recv().is_ok(), "the server was not asked");

    // Where the next file of the replica goes, there is a file already.
    let (ltx, away) = (dir.path().join("replica/ltx"), dir.path().join("away"));
    std::fs::rename(&ltx, &away).unwrap();
    std::fs::write(&ltx, "in the way").unwrap();
    app.execute("INSERT INTO t VALUES (1)", []).unwrap();
    until(&fleet, |state| matches!(state, HeartbeatState::Withheld(_))).await;

    std::fs::remove_file(&ltx).unwrap();
    std::fs::rename(&away, &ltx).unwrap();
    until(&fleet, |state| matches!(state, HeartbeatState::Sent(_))).await;
    beating.abort();
    keeper.stop(DEADLINE).await.unwrap();
}

#[tokio::test]
async fn nothing_replicated_is_not_well() {
    let dir = tempfile::tempdir().unwrap();
    let config = "dbs: [{dir: ., pattern: '*.db', watch: true, replica: {path: replica}}]\n";
    let builder = Lockkeeper::builder().config(config).base_dir(dir.path());
    let keeper = builder.start().await.unwrap();
    let (url, asked) = server();
    let settings = HeartbeatSettings {
        url: Secret::new(url),
        interval: SOON,
    };
    let beating = tokio::spawn(beat(settings, Arc::clone(&keeper.fleet), SOON));
    until(&keeper.fleet, |state| {
        matches!(state, HeartbeatState::Withheld(_))
    })
    .await;
    assert!(asked.try_recv().is_err());
    beating.abort();
    keeper.stop(DEADLINE).await.unwrap();
}
