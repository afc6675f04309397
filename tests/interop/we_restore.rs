//! lockkeeper restores what Litestream wrote.

use std::time::{Duration, UNIX_EPOCH};

use lockkeeper::restore::Target;
use lockkeeper_ltx::{FileName, TxidRange};
use lockkeeper_tests::litestream::{self, FRAMES_ONLY, Litestream, NEWEST};
use lockkeeper_tests::{database, oracle, replica};

use super::subject::{AutoVacuum, STEPS, Subject};

async fn check(version: &str, page_size: u32, vacuum: AutoVacuum) {
    let Some(litestream) = Litestream::find(version) else {
        return;
    };
    let mut subject = Subject::new(page_size, vacuum);
    for number in 0..2 * STEPS.len() {
        subject.step(number);
        subject.sync_official(&litestream).await;
    }
    subject.check_every_point(&litestream).await;
}

#[tokio::test]
async fn every_point_of_the_newest_release_is_restored_with_the_smallest_pages() {
    check(NEWEST, 512, AutoVacuum::Incremental).await;
}

#[tokio::test]
async fn every_point_of_the_newest_release_is_restored_with_the_largest_pages() {
    check(NEWEST, 65_536, AutoVacuum::Full).await;
}

#[tokio::test]
async fn every_point_of_an_old_release_is_restored() {
    check(FRAMES_ONLY, 4096, AutoVacuum::None).await;
}

/// Merges every second, so that a short run has merged files in it.
const CONFIG: &str = "
levels:
  - interval: 1s
dbs:
  - path: app.db
    min-checkpoint-page-count: 100
    replica: {path: replica, sync-interval: 50ms}
";

async fn check_running(version: &str) {
    let Some(litestream) = Litestream::find(version) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    let mut writer = oracle::Writer::open(&path, 1);
    let config = folder.path().join("litestream.yml");
    let absolute = CONFIG.replace("app.db", path.to_str().unwrap()).replace(
        "path: replica",
        &format!("path: {}", folder.path().join("replica").display()),
    );
    std::fs::write(&config, absolute).unwrap();
    let mut running = litestream.replicate(&config);
    let mut written = 0;
    for _ in 0..2 {
        for _ in 0..200 {
            written = writer.write();
        }
        running.wait_for("a file was merged", |line| {
            line.contains("compaction complete") && line.contains("level=1")
        });
    }
    litestream::assert_content(&running.terminate());
    let restored = replica::restored(&folder.path().join("replica"), Target::Latest).await;
    let truth = database::bytes(writer.connection());
    database::assert_same_bytes(&restored, &truth, "the database");
    let copy = folder.path().join("copy.db");
    std::fs::write(&copy, restored).unwrap();
    assert_eq!(oracle::check(&copy, 1), [written]);
}

#[tokio::test]
async fn what_the_newest_release_writes_while_it_runs_is_restored() {
    check_running(NEWEST).await;
}

#[tokio::test]
async fn what_an_old_release_writes_while_it_runs_is_restored() {
    check_running(FRAMES_ONLY).await;
}

/// Litestream sets the time of a file after it has its name; killed in between, it leaves the time
/// of the write, which is not in whole milliseconds.
#[tokio::test]
async fn a_time_within_a_millisecond_is_before_what_litestream_says_it_is_before() {
    let Some(litestream) = Litestream::find(NEWEST) else {
        return;
    };
    let mut subject = Subject::new(4096, AutoVacuum::None);
    for number in 0..4 {
        subject.step(number);
        subject.sync_official(&litestream).await;
    }
    let files = replica::increments(&subject.replica()).await;
    let (middle, last) = (&files[files.len() - 2], files.last().unwrap());
    let sealed_ms = middle.created_ms + 1_000;
    let sealed = Duration::from_micros(sealed_ms.unsigned_abs() * 1_000 + 400);
    set_modified(&subject, middle, sealed);
    set_modified(&subject, last, sealed + Duration::from_secs(1));

    for (time_ms, is_within) in [(sealed_ms, false), (sealed_ms + 1, true)] {
        let time = jiff::Timestamp::from_millisecond(time_ms).unwrap();
        let theirs = litestream.restored(&subject.replica(), &["-timestamp", &time.to_string()]);
        let ours = replica::restored(&subject.replica(), Target::Before(time_ms)).await;
        database::assert_same_bytes(&ours, &theirs, "both programs");
        let with = replica::restored(&subject.replica(), Target::Txid(middle.txid)).await;
        assert_eq!(ours == with, is_within, "{time_ms}");
    }
}

fn set_modified(subject: &Subject, file: &replica::Increment, time: Duration) {
    let name = FileName::new(TxidRange::single(file.txid)).to_string();
    let path = subject.replica().join("ltx/0").join(name);
    let file = std::fs::File::options().append(true).open(path).unwrap();
    file.set_modified(UNIX_EPOCH + time).unwrap();
}
