//! What a verification finds, and what becomes of it.

use std::path::Path;
use std::time::Duration;

use lockkeeper::ErrorKind;
use lockkeeper_ltx::{Encoder, PageEncoding, Reader};

use crate::world::World;

/// Changes the first page of a file and keeps its checksum right.
fn falsify(file: &Path) {
    let mut reader = Reader::new(std::fs::File::open(file).unwrap());
    let header = reader.header().unwrap();
    let mut out = Vec::new();
    let mut encoder = Encoder::new(header, PageEncoding::Block, &mut out).unwrap();
    let mut is_first = true;
    while let Some((pgno, page)) = reader.next_page().unwrap() {
        let mut page = page.to_vec();
        if std::mem::take(&mut is_first) {
            let last = page.len() - 1;
            page[last] ^= 1;
        }
        encoder.page(pgno, &page, &mut out).unwrap();
    }
    encoder.finish(&mut out).unwrap();
    std::fs::write(file, out).unwrap();
}

fn flip(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(file, bytes).unwrap();
}

#[tokio::test]
async fn an_intact_replica_is_proven_however_much_is_written_meanwhile() {
    let world = World::running().await;
    let path = world.path("app.db");
    for _ in 0..5 {
        let writing = async {
            loop {
                world.insert();
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
        };
        let before = world.status().durable;
        tokio::select! {
            verified = world.keeper().verify(&path) => {
                let verified = verified.unwrap();
                assert!(Some(verified.txid) >= before);
                assert_eq!(world.status().verified, Some(verified));
            }
            () = writing => {}
        }
    }
    let left = std::fs::read_dir(world.path(".app.db-litestream")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        !left
            .iter()
            .any(|name| name.to_string_lossy().contains("verification")),
        "{left:?}"
    );
}

#[tokio::test]
async fn damage_is_found_pauses_deletion_and_is_mended_by_a_snapshot() {
    let damages: [fn(&Path); 3] = [falsify, flip, |file| std::fs::remove_file(file).unwrap()];
    for (damage, expected) in damages
        .into_iter()
        .zip(["1 pages of", ".ltx", "no file ends at"])
    {
        let mut world = World::new().await;
        world.more = "snapshot: {interval: 24h}\n";
        world.start().await;
        // Not later: it would stand in for the file that is damaged.
        world
            .until("the first snapshot", |status| status.snapshot.is_some())
            .await;
        world.insert();
        world.sync().await;
        damage(&World::newest(&world.remote(0)));
        let error = world
            .keeper()
            .verify(world.path("app.db"))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains(expected), "{error}");
        assert!(world.status().verification_failed.is_some());
        let before = world.status().spooled;
        world
            .until("a new proof", |status| {
                status.verification_failed.is_none()
                    && status
                        .verified
                        .is_some_and(|verified| Some(verified.txid) > before)
            })
            .await;
        assert!(world.status().snapshot > before);
        world.assert_heals().await;
    }
}

#[tokio::test]
async fn a_failed_verification_is_remembered_over_a_restart() {
    let mut world = World::new().await;
    let note = world.path(".app.db-litestream/verification-failed");
    std::fs::write(&note, "page 7 differs").unwrap();
    world.start().await;
    world
        .until("the memory", |status| {
            status.verification_failed.as_deref() == Some("page 7 differs")
        })
        .await;
    world
        .write_until("a new proof", |world| {
            world.status().verification_failed.is_none()
        })
        .await;
    assert!(!note.exists());
}

#[tokio::test]
async fn a_replica_is_verified_as_often_as_it_is_configured() {
    let mut world = World::new().await;
    world.more = "validation: {interval: 1s}\n";
    world.start().await;
    for _ in 0..2 {
        let before = world.status().verified;
        world
            .write_until("a verification", |world| world.status().verified > before)
            .await;
    }
    assert!(world.status().verified_age() < Some(Duration::from_secs(60)));
    world.assert_heals().await;
}

#[tokio::test]
async fn the_lag_is_the_age_of_the_oldest_commit_that_is_not_durable() {
    let mut world = World::running().await;
    assert_eq!(world.status().lag(), Duration::ZERO);
    // The replica is away: a file stands where its folder was.
    let (replica, kept) = (world.path("replica"), world.path("kept"));
    std::fs::rename(&replica, &kept).unwrap();
    std::fs::write(&replica, "").unwrap();
    world.insert();
    world
        .until("a lag", |status| status.lag() > Duration::from_millis(50))
        .await;
    let since = world.status().waiting_since;
    world.insert();
    world
        .until("a longer lag", |status| {
            status.lag() > Duration::from_millis(100)
        })
        .await;
    assert_eq!(world.status().waiting_since, since);
    std::fs::remove_file(&replica).unwrap();
    std::fs::rename(&kept, &replica).unwrap();
    world.sync().await;
    assert_eq!(world.status().lag(), Duration::ZERO);
    world.assert_heals().await;
}
