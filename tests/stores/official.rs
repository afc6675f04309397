//! lockkeeper and the official binary on one server: what one writes, the other restores.

use std::path::PathBuf;

use lockkeeper::Lockkeeper;
use lockkeeper::restore::Target;
use lockkeeper_ltx::Level;
use lockkeeper_tests::database::{self, assert_same_bytes};
use lockkeeper_tests::litestream::{Litestream, NEWEST};
use lockkeeper_tests::servers::Server;
use rusqlite::Connection;

use super::support::{Subject, replica, restored, stop};

/// Several parts of an upload, in one transaction.
const LARGE: u32 = 12 << 20;

async fn we_write(server: Option<&Server>, path: &str) {
    if let Some(server) = server {
        check_ours(server.name, &server.replica(path)).await;
    }
}

async fn check_ours(server: &str, replica: &str) {
    let Some(litestream) = Litestream::find(NEWEST) else {
        return;
    };
    let mut subject = Subject::new(replica);
    let keeper = subject.start().await;
    for _ in 0..5 {
        subject.insert(3, 1000);
        keeper.sync().await.unwrap();
    }
    subject.insert(1, LARGE);
    keeper.sync().await.unwrap();
    stop(keeper).await;
    let files = subject.replica().list_sealed().await.unwrap();
    let single = files.iter().filter(|file| file.level == Level::L0);
    let mut points = vec![(Target::Latest, Vec::new())];
    for file in single.skip(1) {
        let (txid, ms) = (file.range().max(), file.created_ms);
        let time = jiff::Timestamp::from_millisecond(ms).unwrap().to_string();
        points.push((Target::Txid(txid), vec!["-txid".into(), txid.to_string()]));
        points.push((Target::Before(ms), vec!["-timestamp".into(), time]));
    }
    assert!(points.len() > 10, "{}", points.len());
    for (target, arguments) in points {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let theirs = litestream.restored_by_config(&subject.config(), &subject.path(), &arguments);
        let ours = subject.restored(target).await;
        assert_same_bytes(&theirs, &ours, &format!("{target:?} from {server}"));
    }
    let latest = subject.restored(Target::Latest).await;
    assert_same_bytes(&latest, &subject.bytes(), server);
}

async fn they_write(server: Option<&Server>, path: &str) {
    let (Some(server), Some(litestream)) = (server, Litestream::find(NEWEST)) else {
        return;
    };
    let mut subject = Subject::new(&server.replica(path));
    for _ in 0..3 {
        subject.insert(3, 1000);
        litestream.replicate_config_once(&subject.config());
    }
    subject.insert(1, LARGE);
    litestream.replicate_config_once(&subject.config());
    let ours = subject.restored(Target::Latest).await;
    assert_same_bytes(&ours, &subject.bytes(), server.name);

    // And on from there, on another machine.
    subject.forget();
    let keeper = subject.start().await;
    subject.insert(3, 1000);
    keeper.sync().await.unwrap();
    stop(keeper).await;
    let theirs = litestream.restored_by_config(&subject.config(), &subject.path(), &[]);
    assert_same_bytes(&theirs, &subject.bytes(), server.name);
}

#[tokio::test]
async fn litestream_restores_every_point_of_what_we_wrote_to_seaweedfs() {
    we_write(Server::seaweedfs(), "ours").await;
}

#[tokio::test]
async fn we_restore_what_litestream_wrote_to_seaweedfs() {
    they_write(Server::seaweedfs(), "theirs").await;
}

#[tokio::test]
async fn litestream_restores_every_point_of_what_we_wrote_to_moto_below_a_slash() {
    we_write(Server::moto(), "/ours").await;
}

#[tokio::test]
async fn we_restore_what_litestream_wrote_to_moto_without_a_path() {
    they_write(Server::moto(), "").await;
}

#[tokio::test]
async fn litestream_restores_every_point_of_what_we_wrote_to_azurite() {
    we_write(Server::azurite(), "ours").await;
}

#[tokio::test]
async fn we_restore_what_litestream_wrote_to_azurite() {
    they_write(Server::azurite(), "theirs").await;
}

#[tokio::test]
async fn litestream_restores_what_we_encrypted_with_a_key_of_our_own() {
    let Some(server) = Server::seaweedfs() else {
        return;
    };
    let key = "sse-customer-key: 'MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE='";
    check_ours(server.name, &server.replica_with("encrypted", key)).await;
    // Without the key nothing can be read.
    let bare = replica(&server.replica("encrypted"));
    let files = bare.list_all().await.unwrap();
    let file = files.first().unwrap();
    assert!(bare.get(file.level, file.name).await.is_err());
}

/// A directory of databases, with one in a directory of its own; and what replicates it.
fn directory(replica: &str) -> (tempfile::TempDir, Connection, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("sub")).unwrap();
    let app = database::open_without_checkpoints(&dir.path().join("sub/app.db"));
    app.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (randomblob(9000))")
        .unwrap();
    let config = dir.path().join("litestream.yml");
    let text = format!(
        "dbs: [{{dir: '{}', pattern: '*.db', recursive: true, replica: {replica}}}]",
        dir.path().display()
    );
    std::fs::write(&config, text).unwrap();
    (dir, app, config)
}

#[tokio::test]
async fn a_database_of_a_directory_is_below_the_place_of_the_replica() {
    let (Some(server), Some(litestream)) = (Server::moto(), Litestream::find(NEWEST)) else {
        return;
    };
    let (_dir, mut app, config) = directory(&server.replica("directory/theirs"));
    litestream.replicate_config_once(&config);
    let theirs = replica(&server.replica("directory/theirs/sub/app.db"));
    let ours = restored(&theirs, Target::Latest).await;
    assert_same_bytes(&ours, &database::bytes(&mut app), "written by Litestream");

    let (_dir, mut app, config) = directory(&server.replica("directory/ours"));
    let text = std::fs::read_to_string(config).unwrap();
    let keeper = Lockkeeper::builder().config(text).start().await.unwrap();
    keeper.sync().await.unwrap();
    stop(keeper).await;
    let subject = Subject::new(&server.replica("directory/ours/sub/app.db"));
    let theirs = litestream.restored_by_config(&subject.config(), &subject.path(), &[]);
    assert_same_bytes(&theirs, &database::bytes(&mut app), "written by us");
}
