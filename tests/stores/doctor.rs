//! A store that does not do what a replica needs is found out.

use lockkeeper::store::{Check, Verdict, examine};
use lockkeeper_tests::fake_gcs::{Failure, FakeGcs};
use lockkeeper_tests::servers::{SECRET, Server};

use super::support::replica;

/// The names of the checks that failed.
fn failed(checks: &[Check]) -> Vec<&'static str> {
    let failed = |check: &&Check| matches!(check.verdict, Verdict::Failed(_));
    checks
        .iter()
        .filter(failed)
        .map(|check| check.name)
        .collect()
}

#[tokio::test]
async fn every_server_passes_and_nothing_is_left_there() {
    let servers = [Server::seaweedfs(), Server::moto(), Server::azurite()];
    for server in servers.into_iter().flatten() {
        let replica = replica(&server.replica("examined"));
        let checks = examine(replica.store().as_ref()).await;
        let passed = |check: &Check| matches!(check.verdict, Verdict::Passed);
        assert!(checks.iter().all(passed), "{}: {checks:#?}", server.name);
        let left = replica.store().list_tree(lockkeeper::store::Times::Listed);
        assert_eq!(left.await.unwrap(), Some(Vec::new()), "{}", server.name);
    }
}

#[tokio::test]
async fn a_store_that_overwrites_what_it_should_keep_is_found_out() {
    let server = FakeGcs::start();
    server.ignore_conditions();
    let replica = replica(&server.replica("examined"));
    let checks = examine(replica.store().as_ref()).await;
    assert_eq!(failed(&checks), ["conditional put"], "{checks:#?}");
}

#[tokio::test]
async fn a_store_that_refuses_to_write_is_not_examined_further() {
    let server = FakeGcs::start();
    let replica = replica(&server.replica("examined"));
    let denied = Failure {
        status: 403,
        retry_after: None,
        is_done: false,
    };
    assert!(replica.store().folders("").await.unwrap().is_empty());
    server.fail("PUT ", denied, 1);
    let checks = examine(replica.store().as_ref()).await;
    assert_eq!(failed(&checks), ["put"], "{checks:#?}");
    let skipped = |check: &&Check| matches!(check.verdict, Verdict::Skipped);
    assert_eq!(checks.iter().filter(skipped).count(), checks.len() - 2);
    let text = format!("{checks:?}");
    assert!(text.contains("storage.objects.create"), "{text}");
}

#[tokio::test]
async fn wrong_credentials_are_found_out_first() {
    let Some(server) = Server::seaweedfs() else {
        return;
    };
    let described = server.replica("examined").replace(SECRET, "wrong");
    let checks = examine(replica(&described).store().as_ref()).await;
    assert_eq!(failed(&checks), ["list", "put"], "{checks:#?}");
}
