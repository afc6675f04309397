//! Litestream restores what lockkeeper wrote.

use lockkeeper::PageEncoding;
use lockkeeper_tests::litestream::{FRAMES_ONLY, Litestream, NEWEST};

use super::subject::{AutoVacuum, STEPS, Subject};

/// A history that lockkeeper replicated.
async fn written_by_us(page_size: u32, vacuum: AutoVacuum, encoding: PageEncoding) -> Subject {
    let mut subject = Subject::new(page_size, vacuum);
    let keeper = subject.start(encoding).await;
    for number in 0..2 * STEPS.len() {
        subject.step(number);
        subject.sync(&keeper).await;
    }
    subject.stop(keeper).await;
    subject
}

async fn check(version: &str, page_size: u32, vacuum: AutoVacuum, encoding: PageEncoding) {
    let Some(litestream) = Litestream::find(version) else {
        return;
    };
    let subject = written_by_us(page_size, vacuum, encoding).await;
    subject.check_every_point(&litestream).await;
}

#[tokio::test]
async fn the_newest_release_restores_every_point_with_the_smallest_pages() {
    check(NEWEST, 512, AutoVacuum::Incremental, PageEncoding::Block).await;
}

#[tokio::test]
async fn the_newest_release_restores_every_point_with_the_usual_pages() {
    check(NEWEST, 4096, AutoVacuum::Full, PageEncoding::Block).await;
}

#[tokio::test]
async fn the_newest_release_restores_every_point_with_the_largest_pages() {
    check(NEWEST, 65_536, AutoVacuum::None, PageEncoding::Block).await;
}

#[tokio::test]
async fn an_old_release_restores_every_point_of_frame_pages() {
    check(
        FRAMES_ONLY,
        1024,
        AutoVacuum::Incremental,
        PageEncoding::Frame,
    )
    .await;
}

#[tokio::test]
async fn the_newest_release_restores_every_point_of_frame_pages() {
    check(NEWEST, 4096, AutoVacuum::Incremental, PageEncoding::Frame).await;
}
