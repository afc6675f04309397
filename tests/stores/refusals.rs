//! What a store refuses is told apart, and never taken for an empty replica.

use lockkeeper::ErrorKind;
use lockkeeper::restore::{Target, has_backup, plan_restore};
use lockkeeper_tests::servers::{BUCKET, SECRET, Server};

use super::support::replica;

#[tokio::test]
async fn a_bucket_that_does_not_exist_is_no_empty_replica() {
    let servers = [Server::seaweedfs(), Server::moto(), Server::azurite()];
    for server in servers.into_iter().flatten() {
        let described = server.replica("p").replace(
            &format!("bucket: {BUCKET}"),
            "bucket: there-is-no-such-bucket",
        );
        let replica = replica(&described);
        for error in [
            plan_restore(&replica, Target::Latest).await.unwrap_err(),
            has_backup(&replica).await.unwrap_err(),
            replica.store().get_small("x").await.unwrap_err(),
            replica
                .store()
                .list("0000", lockkeeper::store::Times::Listed)
                .await
                .unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", server.name);
            let text = error.to_string();
            assert!(text.contains("`bucket`"), "{}: {text}", server.name);
        }
    }
}

#[tokio::test]
async fn a_wrong_secret_names_the_setting_and_not_the_secret() {
    let Some(server) = Server::seaweedfs() else {
        return;
    };
    let described = server.replica("p").replace(SECRET, "canary-3f1a");
    let replica = replica(&described);
    let error = plan_restore(&replica, Target::Latest).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("`secret-access-key`"), "{text}");
    assert!(!text.contains("canary"), "{text}");
}

#[tokio::test]
async fn a_wrong_account_key_names_the_setting() {
    let Some(server) = Server::azurite() else {
        return;
    };
    let described = server
        .replica("p")
        .replace("bG9ja2tlZXBlci10ZXN0LWtleQ==", "Y2FuYXJ5");
    let error = plan_restore(&replica(&described), Target::Latest).await;
    let text = error.unwrap_err().to_string();
    assert!(text.contains("`account-key`"), "{text}");
    assert!(!text.contains("Y2FuYXJ5"), "{text}");
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused_unless_any_will_do() {
    let Some(server) = Server::moto_over_tls() else {
        return;
    };
    let strict = replica(&server.replica("p"));
    let error = has_backup(&strict).await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
    // Whoever it is, it answers: that there is no such bucket yet.
    let lenient = replica(&server.replica_with("p", "skip-verify: true"));
    let error = has_backup(&lenient).await.unwrap_err();
    assert!(error.to_string().contains("`bucket`"), "{error}");
}
