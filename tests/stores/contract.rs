//! Every store keeps the contract, over the network as in a folder.

use lockkeeper::store::conformance;
use lockkeeper_tests::fake_gcs::FakeGcs;
use lockkeeper_tests::servers::Server;

use super::support::replica;

async fn check(server: Option<&Server>, path: &str) {
    let Some(server) = server else {
        return;
    };
    let replica = replica(&server.replica(path));
    conformance(replica.store().as_ref()).await;
    assert!(replica.store().excludes_races(1), "{}", server.name);
}

#[tokio::test]
async fn seaweedfs_keeps_the_contract() {
    check(Server::seaweedfs(), "contract/of a store").await;
}

#[tokio::test]
async fn moto_keeps_the_contract() {
    check(Server::moto(), "contract").await;
}

#[tokio::test]
async fn moto_keeps_the_contract_below_a_slash() {
    check(Server::moto(), "/contract").await;
}

#[tokio::test]
async fn azurite_keeps_the_contract() {
    check(Server::azurite(), "contract/of a store").await;
}

#[tokio::test]
async fn what_stands_in_for_google_keeps_the_contract() {
    let server = FakeGcs::start();
    let replica = replica(&server.replica("contract"));
    conformance(replica.store().as_ref()).await;
}
