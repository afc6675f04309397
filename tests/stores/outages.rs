//! A store that fails for a while loses nothing and leaves no gap.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lockkeeper::restore::Target;
use lockkeeper::{DatabaseState, DatabaseStatus, Lockkeeper};
use lockkeeper_ltx::Level;
use lockkeeper_tests::database::{self, assert_same_bytes};
use lockkeeper_tests::fake_gcs::{Failure, FakeGcs};
use lockkeeper_tests::servers::Server;

use super::support::{PATIENCE, Subject, replica, stop};

const DOWN: Failure = Failure {
    status: 503,
    retry_after: None,
    is_done: false,
};

/// Between two looks at what the server heard.
const PAUSE: Duration = Duration::from_millis(10);

/// The transactions that were sent, in the order in which the server heard of them.
fn sent(server: &FakeGcs, path: &str) -> Vec<String> {
    let begin = format!("PUT {path}/ltx/0/");
    let asked = server.asked().into_iter();
    let files = asked.filter_map(|what| Some(what.strip_prefix(&begin)?.to_owned()));
    files.collect()
}

#[tokio::test]
async fn a_transaction_that_fails_is_sent_again_before_the_next() {
    let server = FakeGcs::start();
    let mut subject = Subject::new(&server.replica("again"));
    let keeper = subject.start().await;
    subject.insert(1, 100);
    keeper.sync().await.unwrap();
    // More than one operation tries, so that it fails as a whole.
    server.fail("PUT again/ltx/0/", DOWN, 8);
    let before = sent(&server, "again").len();
    for n in 0..3 {
        subject.insert(1, 100);
        let is_there = async || {
            while sent(&server, "again").len() < before + n {
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(PATIENCE, is_there()).await.unwrap();
    }
    tokio::time::timeout(PATIENCE, keeper.sync())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(server.failures_left(), 0);
    stop(keeper).await;
    let mut heard = sent(&server, "again");
    assert!(heard.len() >= before + 8 + 2, "{heard:?}");
    heard.dedup();
    assert!(heard.len() >= before + 2, "{heard:?}");
    let mut sorted = heard.clone();
    sorted.sort();
    assert_eq!(heard, sorted, "one was sent before another was confirmed");
    let bytes = subject.restored(Target::Latest).await;
    assert_same_bytes(&bytes, &subject.bytes(), "after the outage");
}

/// Commits every few milliseconds, until it is told to stop; returns how often.
fn write_on(path: PathBuf, is_over: Arc<AtomicBool>) -> JoinHandle<i64> {
    std::thread::spawn(move || {
        let app = database::open_without_checkpoints(&path);
        let mut commits = 0;
        while !is_over.load(Ordering::Relaxed) {
            app.execute("INSERT INTO t (x) VALUES (randomblob(1000))", [])
                .unwrap();
            commits += 1;
            std::thread::sleep(PAUSE);
        }
        commits
    })
}

/// Waits until the one database is as `wanted`.
async fn until(keeper: &Lockkeeper, what: &str, wanted: impl Fn(&DatabaseStatus) -> bool) {
    let waited = async {
        while !wanted(&keeper.status().databases[0]) {
            tokio::time::sleep(PAUSE).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waited).await;
    waited.unwrap_or_else(|_| panic!("{what}: {:#?}", keeper.status()));
}

#[tokio::test]
async fn a_server_that_is_killed_and_comes_back_gets_everything_without_a_restart() {
    let Some(mut server) = Server::mortal_seaweedfs() else {
        return;
    };
    let mut subject = Subject::new(&server.replica("killed"));
    let keeper = subject.start().await;
    let is_over = Arc::new(AtomicBool::new(false));
    let writer = write_on(subject.path(), Arc::clone(&is_over));
    for _ in 0..2 {
        let begin = keeper.status().databases[0].durable;
        until(&keeper, "it sends", |it| it.durable > begin).await;
        server.kill();
        let is_failing = |it: &DatabaseStatus| match &it.state {
            DatabaseState::ReplicaFailing(why) => why.contains("`endpoint`"),
            _ => false,
        };
        until(&keeper, "it says what fails", is_failing).await;
        assert!(!keeper.status().problems().is_empty());
        let spooled = keeper.status().databases[0].spooled;
        until(&keeper, "it captures", |it| it.spooled > spooled).await;
        server.start_again();
        until(&keeper, "it goes on", |it| {
            it.durable > spooled && it.state == DatabaseState::Replicating
        })
        .await;
    }
    is_over.store(true, Ordering::Relaxed);
    let commits = writer.join().unwrap();
    tokio::time::timeout(PATIENCE, keeper.sync())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(keeper.status().problems(), [""; 0]);
    stop(keeper).await;

    let files = subject.replica().list(Level::L0).await.unwrap();
    for pair in files.windows(2) {
        let (end, next) = (pair[0].range().max(), pair[1].range().min());
        assert_eq!(end.get() + 1, next.get(), "a gap in {files:#?}");
    }
    let bytes = subject.restored(Target::Latest).await;
    assert_same_bytes(&bytes, &subject.bytes(), "after two outages");
    let sql = "SELECT count(*) FROM t";
    let rows = subject.app.query_row(sql, [], |row| row.get(0));
    assert_eq!(rows, Ok(commits), "what the application was told");
}

#[tokio::test]
async fn an_answer_that_is_lost_is_no_second_transaction() {
    let server = FakeGcs::start();
    let mut subject = Subject::new(&server.replica("lost"));
    let keeper = subject.start().await;
    subject.insert(1, 100);
    keeper.sync().await.unwrap();
    let lost = Failure {
        is_done: true,
        ..DOWN
    };
    server.fail("PUT lost/ltx/0/", lost, 1);
    subject.insert(1, 100);
    tokio::time::timeout(PATIENCE, keeper.sync())
        .await
        .unwrap()
        .unwrap();
    stop(keeper).await;
    let bytes = subject.restored(Target::Latest).await;
    assert_same_bytes(&bytes, &subject.bytes(), "after the lost answer");
}

#[tokio::test]
async fn a_store_that_asks_for_a_pause_gets_it() {
    let server = FakeGcs::start();
    let replica = replica(&server.replica("paused"));
    let pause = Failure {
        status: 429,
        retry_after: Some(2),
        is_done: false,
    };
    server.fail("LIST ", pause, 1);
    let start = Instant::now();
    assert!(replica.list_all().await.unwrap().is_empty());
    assert_eq!(server.asked().len(), 2);
    assert!(start.elapsed().as_secs() >= 2, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_database_at_rest_asks_for_nothing() {
    let server = FakeGcs::start();
    let subject = Subject::new(&server.replica("rest"));
    let keeper = subject.start().await;
    subject.insert(1, 100);
    keeper.sync().await.unwrap();
    let mut before = server.asked().len();
    // What follows a commit, such as the note of the head, comes within a few seconds.
    let start = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_secs(4)).await;
        let now = server.asked().len();
        if now == before {
            break;
        }
        before = now;
        assert!(start.elapsed() < PATIENCE, "{:?}", server.asked());
    }
    stop(keeper).await;
}
