//! One program goes on where the other left off, and back.

use lockkeeper::PageEncoding;
use lockkeeper_ltx::Txid;
use lockkeeper_tests::litestream::{FRAMES_ONLY, Litestream, NEWEST};
use lockkeeper_tests::replica;

use super::subject::{AutoVacuum, STEPS, Subject};

const ROUNDS: usize = 3;
/// Steps of each program in a round.
const STEPS_IN_TURN: usize = 4;

/// The steps that leave some pages as they are, so that a full file is no increment.
const STEPS_IN_PART: usize = STEPS.len() - 1;

/// Who loses the local state directory before a takeover.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Forgets {
    Nobody,
    Litestream,
    Us,
}

/// Both programs in turn, some steps each; the application stays connected all the time.
async fn check(version: &str, encoding: PageEncoding, forgets: Forgets) {
    let Some(litestream) = Litestream::find(version) else {
        return;
    };
    let mut subject = Subject::new(4096, AutoVacuum::Incremental);
    let mut number = 0;
    for round in 0..ROUNDS {
        if round > 0 && forgets == Forgets::Us {
            subject.forget();
        }
        let keeper = subject.start(encoding).await;
        for _ in 0..STEPS_IN_TURN {
            subject.step(number % STEPS_IN_PART);
            subject.sync(&keeper).await;
            number += 1;
        }
        subject.stop(keeper).await;
        if forgets == Forgets::Litestream {
            subject.forget();
        }
        for _ in 0..STEPS_IN_TURN {
            subject.step(number % STEPS_IN_PART);
            subject.sync_official(&litestream).await;
            number += 1;
        }
    }
    subject.check_every_point(&litestream).await;
    assert_incremental(&subject).await;
}

/// Fails if a file after the first holds every page: the log was then lost sight of.
async fn assert_incremental(subject: &Subject) {
    let increments = replica::increments(&subject.replica()).await;
    let full: Vec<Txid> = increments
        .iter()
        .filter(|file| file.is_full)
        .map(|file| file.txid)
        .collect();
    assert_eq!(full, [Txid::FIRST]);
}

#[tokio::test]
async fn the_newest_release_and_we_take_over_from_each_other_with_increments_only() {
    check(NEWEST, PageEncoding::Block, Forgets::Nobody).await;
}

#[tokio::test]
async fn an_old_release_and_we_take_over_from_each_other_with_increments_only() {
    check(FRAMES_ONLY, PageEncoding::Frame, Forgets::Nobody).await;
}

#[tokio::test]
async fn the_newest_release_takes_over_without_local_state() {
    check(NEWEST, PageEncoding::Block, Forgets::Litestream).await;
}

#[tokio::test]
async fn we_take_over_without_local_state() {
    check(NEWEST, PageEncoding::Block, Forgets::Us).await;
}
