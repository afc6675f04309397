//! The official command line asks lockkeeper, and lockkeeper asks the official binary.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lockkeeper::control::{Client, SyncRequest};
use lockkeeper::{ErrorKind, Lockkeeper};
use lockkeeper_tests::database;
use lockkeeper_tests::litestream::{Litestream, NEWEST};
use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(30);

fn config(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "socket: {{enabled: true, path: {dir}/control.sock}}\n\
         dbs:\n  - path: {dir}/app.db\n    replica: {{path: {dir}/replica}}\n"
    )
}

#[tokio::test]
async fn the_official_command_line_lists_and_syncs_what_lockkeeper_replicates() {
    let Some(litestream) = Litestream::find(NEWEST) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.db");
    let app = database::open_without_checkpoints(&path);
    app.execute_batch("CREATE TABLE t (x)").unwrap();
    let builder = Lockkeeper::builder().config(config(dir.path()));
    let keeper = builder.start().await.unwrap();
    let socket = dir.path().join("control.sock");
    let ask = |command: &'static str, operands: Vec<PathBuf>| {
        let (litestream, socket) = (litestream.clone(), socket.clone());
        tokio::task::spawn_blocking(move || litestream.control(command, &socket, &operands))
    };
    for round in 0..3 {
        app.execute("INSERT INTO t VALUES (?1)", [round]).unwrap();
        let synced = ask("sync -wait -json", vec![path.clone()]).await.unwrap();
        let synced: Value = serde_json::from_str(&synced.unwrap()).unwrap();
        assert_eq!(synced["db_path"], path.to_str().unwrap());
        assert_eq!(synced["txid"], synced["replica_txid"]);
        let durable = keeper.status().databases[0].durable.unwrap();
        assert_eq!(synced["txid"], durable.get());
    }
    let list = ask("list -json", Vec::new()).await.unwrap().unwrap();
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list["databases"][0]["status"], "replicating");
    assert!(list["databases"][0]["last_sync_at"].is_string());
    let info = ask("info -json", Vec::new()).await.unwrap().unwrap();
    let info: Value = serde_json::from_str(&info).unwrap();
    assert_eq!(info["pid"], std::process::id());
    assert_eq!(info["database_count"], 1);
    let other = dir.path().join("other.db");
    let refused = ask("sync", vec![other]).await.unwrap().unwrap_err();
    assert!(refused.contains("database not found"), "{refused}");
    keeper.stop(TIMEOUT).await.unwrap();
}

#[tokio::test]
async fn lockkeeper_lists_and_syncs_what_the_official_binary_replicates() {
    let Some(litestream) = Litestream::find(NEWEST) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.db");
    let app = database::open_without_checkpoints(&path);
    app.execute_batch("CREATE TABLE t (x)").unwrap();
    let file = dir.path().join("litestream.yml");
    std::fs::write(&file, config(dir.path())).unwrap();
    let mut running = litestream.replicate(&file);
    running.wait_for("the socket", |line| {
        line.contains("control socket listening")
    });
    let client = Client::new(dir.path().join("control.sock"), TIMEOUT);
    let request = SyncRequest {
        path: path.display().to_string(),
        wait: true,
        timeout: 30,
    };
    let synced = client.sync(&request).await.unwrap();
    assert_eq!(synced.txid, synced.replicated_txid);
    assert_eq!(client.txid(&request.path).await.unwrap().txid, synced.txid);
    assert_eq!(client.info().await.unwrap().database_count, 1);
    assert_eq!(client.list().await.unwrap().databases[0].path, path);
    let error = client.status().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let error = error.to_string();
    assert!(error.contains("does not know the request"), "{error}");
    assert!(running.terminate().status.success());
}
