//! What is asked of a store is counted, and no more is asked than must be.

use std::time::Duration;

use futures::TryStreamExt as _;
use lockkeeper::restore::Target;
use lockkeeper::store::body_from_bytes;
use lockkeeper_ltx::Level;
use lockkeeper_tests::database::assert_same_bytes;
use lockkeeper_tests::fake_gcs::FakeGcs;
use lockkeeper_tests::servers::Server;

use super::support::{PATIENCE, Subject, put_twenty, replica, restored, stop};

/// The second writing of the first object, by which a server proves that it keeps to conditions.
const PROOF: u64 = 1;

#[tokio::test]
async fn one_listing_restores_a_small_replica() {
    let servers = [Server::seaweedfs(), Server::moto(), Server::azurite()];
    for server in servers.into_iter().flatten() {
        let mut subject = Subject::new(&server.replica("small"));
        let keeper = subject.start().await;
        subject.insert(5, 1000);
        keeper.sync().await.unwrap();
        let sent = keeper.status().databases[0].requests;
        assert!(sent.put > 0 && sent.list > 0, "{}: {sent:?}", server.name);
        stop(keeper).await;
        let replica = subject.replica();
        let bytes = restored(&replica, Target::Latest).await;
        assert_same_bytes(&bytes, &subject.bytes(), server.name);
        let counts = replica.requests();
        assert_eq!(counts.list, 1, "{}: {counts:?}", server.name);
        assert_eq!(counts.head, 0, "{}: {counts:?}", server.name);
        assert!(counts.get > 0 && counts.put == 0, "{counts:?}");
    }
}

#[tokio::test]
async fn a_replica_of_more_than_a_page_is_listed_whole() {
    let server = FakeGcs::start();
    let replica = replica(&server.replica("large"));
    let mut names = Vec::new();
    for n in 1..=1500_u64 {
        let name = format!("{n:016x}-{n:016x}.ltx").parse().unwrap();
        let body = body_from_bytes(&b"x"[..]);
        replica.put(Level::L0, name, 1, body).await.unwrap();
        names.push(name);
    }
    let found = replica.list_all().await.unwrap();
    let found: Vec<_> = found.iter().map(|file| file.name).collect();
    assert!(found == names, "{} files", found.len());
    replica
        .delete_all(&replica.list_all().await.unwrap())
        .await
        .unwrap();
    assert!(replica.list_all().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_time_is_asked_for_only_where_it_is_needed() {
    let Some(server) = Server::moto() else {
        return;
    };
    let replica = replica(&server.replica("times"));
    let name = "0000000000000001-0000000000000001.ltx".parse().unwrap();
    let body = body_from_bytes(&b"x"[..]);
    replica.put(Level::L0, name, 77, body).await.unwrap();
    let before = replica.requests().head;
    assert!(replica.list_all().await.unwrap()[0].created_ms > 77);
    assert_eq!(replica.requests().head, before);
    assert_eq!(replica.list_sealed().await.unwrap()[0].created_ms, 77);
    assert_eq!(replica.requests().head, before + 1);
}

#[tokio::test]
async fn a_large_object_is_sent_in_parts_of_the_configured_size() {
    let Some(server) = Server::moto() else {
        return;
    };
    let name = "0000000000000001-0000000000000001.ltx".parse().unwrap();
    let content: Vec<u8> = (0..13 << 20).map(|n: u32| (n % 251) as u8).collect();
    // One request begins, and one ends.
    for (more, puts) in [
        ("concurrency: 1", 1 + 3 + 1),
        ("part-size: 6MiB, concurrency: 2", 1 + 3 + 1),
        ("part-size: 7MiB", 1 + 2 + 1),
        ("part-size: 14MiB", 1 + PROOF),
    ] {
        let path = format!("parts/{}", more.replace([' ', ',', ':'], ""));
        let replica = replica(&server.replica_with(&path, more));
        let body = body_from_bytes(content.clone());
        replica.put(Level::L0, name, 1, body).await.unwrap();
        let counts = replica.requests();
        assert_eq!(counts.put, puts, "{more}: {counts:?}");
        let body = replica.get(Level::L0, name).await.unwrap().unwrap();
        let pieces: Vec<bytes::Bytes> = body.try_collect().await.unwrap();
        assert!(pieces.concat() == content, "{more}");
    }
}

#[tokio::test]
async fn many_files_are_deleted_in_one_request() {
    let servers = [Server::seaweedfs(), Server::moto(), Server::azurite()];
    for server in servers.into_iter().flatten() {
        let replica = replica(&server.replica("deleted"));
        let files = put_twenty(&replica).await;
        replica.delete_all(&files).await.unwrap();
        assert!(
            replica.list_all().await.unwrap().is_empty(),
            "{}",
            server.name
        );
        // What is gone already is no error.
        replica.delete_all(&files).await.unwrap();
        assert_eq!(replica.requests().delete, 2, "{}", server.name);
    }
}

#[tokio::test]
async fn many_databases_take_turns() {
    const TURNS: usize = 64;
    let server = FakeGcs::start();
    server.wait_for_a_crowd(usize::MAX);
    let replica = replica(&server.replica("crowd"));
    let lists = (0..4 * TURNS).map(|_| replica.list_all());
    let lists = futures::future::try_join_all(lists);
    let watch = async {
        while server.waiting_max() < TURNS {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // Everybody has tried to send by now.
        assert_eq!(replica.requests().list, TURNS as u64);
        server.wait_for_a_crowd(0);
    };
    let all = tokio::time::timeout(PATIENCE, futures::future::join(lists, watch)).await;
    let (lists, ()) = all.unwrap();
    assert_eq!(lists.unwrap().len(), 4 * TURNS);
    assert_eq!(server.waiting_max(), TURNS);
}
