//! Two engines at one replica, one at two, and what a replica remembers of its writer.

use std::future::Future;

use lockkeeper_core::ownership::{MARKER_KEY, Marker};
use lockkeeper_ltx::{Reader, Txid};
use tokio::sync::mpsc;

use super::hooked::{Fate, Hooked};
use super::*;
use crate::ErrorKind;
use crate::restore::Target;

/// Waits for what must come, and fails if it does not.
async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what).await.unwrap()
}

/// One replica, and databases beside it that are replicated to it.
struct Shared {
    dir: TempDir,
    replica: Replica,
}

impl Shared {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let replica = Replica::file(dir.path().join("replica")).unwrap();
        Self { dir, replica }
    }

    /// The database of a host, with as many rows as its number.
    fn host(&self, number: usize) -> Host {
        let folder = self.dir.path().join(number.to_string());
        std::fs::create_dir(&folder).unwrap();
        let app = application(&folder);
        (0..number).for_each(|_| insert(&app));
        Host { folder, app }
    }

    async fn marker(&self) -> Marker {
        let found = self.replica.store().get_small(MARKER_KEY).await.unwrap();
        Marker::parse(&found.unwrap().0).unwrap()
    }

    async fn rows(&self, target: Target) -> i64 {
        let output = tempfile::tempdir().unwrap();
        let path = output.path().join("restored.db");
        let options = RestoreOptions {
            target,
            ..RestoreOptions::new(&path)
        };
        restore(&self.replica, options).await.unwrap();
        rows(&path)
    }

    /// The last transaction in level 0; fails if one before it is missing.
    async fn last(&self) -> Txid {
        let files = self.replica.list(Level::L0).await.unwrap();
        for (number, file) in (1..).zip(&files) {
            assert_eq!(file.range().max().get(), number, "a gap in {files:?}");
        }
        files.last().unwrap().range().max()
    }

    /// Whether the file of a transaction holds every page.
    fn is_full(&self, txid: Txid) -> bool {
        let path = self.path(txid);
        let mut reader = Reader::new(std::fs::File::open(path).unwrap());
        let commit = reader.header().unwrap().commit;
        let pages = std::iter::from_fn(|| reader.next_page().unwrap().map(|_| ())).count();
        pages == commit as usize
    }

    fn path(&self, txid: Txid) -> std::path::PathBuf {
        let name = format!("replica/ltx/0/{txid}-{txid}.ltx");
        self.dir.path().join(name)
    }
}

struct Host {
    folder: std::path::PathBuf,
    app: Connection,
}

impl Host {
    fn start(&self, replica: &Replica) -> Lockkeeper {
        start(&self.folder, |settings| {
            settings.replica.place = ReplicaPlace::Given(replica.clone());
            settings.replica.sync_interval = Duration::from_millis(10);
        })
    }

    fn rows(&self) -> i64 {
        rows(&self.folder.join("app.db"))
    }

    fn meta(&self) -> std::path::PathBuf {
        self.folder.join(".app.db-litestream")
    }
}

#[track_caller]
fn assert_fenced(keeper: &Lockkeeper, owner: &Marker) {
    let state = keeper.status().databases.remove(0).state;
    let expected = DatabaseState::Fenced {
        owner: owner.owner().to_string(),
        database: "app.db".into(),
        epoch: owner.epoch(),
    };
    assert_eq!(state, expected);
}

/// Fails unless a sync and a stop say that another writer owns the replica.
async fn assert_ends_fenced(keeper: Lockkeeper, owner: &Marker) {
    let error = within(keeper.sync()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    assert!(
        error.to_string().contains(&owner.owner().to_string()),
        "{error}"
    );
    assert_fenced(&keeper, owner);
    let error = keeper.stop(DEADLINE).await.unwrap_err();
    assert!(error.to_string().contains("app.db"), "{error}");
}

#[tokio::test]
async fn of_two_databases_at_one_replica_the_first_is_fenced_and_the_second_can_be_restored() {
    let shared = Shared::new();
    let (first, second) = (shared.host(1), shared.host(2));
    let old = first.start(&shared.replica);
    within(old.sync()).await.unwrap();
    assert_eq!(shared.rows(Target::Latest).await, first.rows());
    let before = shared.last().await;
    let new = second.start(&shared.replica);
    within(new.sync()).await.unwrap();
    assert_eq!(shared.rows(Target::Latest).await, second.rows());
    insert(&first.app);
    let owner = shared.marker().await;
    assert_eq!(owner.epoch(), 2);
    assert_ends_fenced(old, &owner).await;
    assert_eq!(shared.rows(Target::Latest).await, second.rows());
    for _ in 0..3 {
        insert(&second.app);
        within(new.sync()).await.unwrap();
        assert_eq!(shared.rows(Target::Latest).await, second.rows());
    }
    new.stop(DEADLINE).await.unwrap();
    shared.last().await;
    assert_eq!(shared.rows(Target::Txid(before)).await, 1);
}

#[tokio::test]
async fn a_fenced_database_that_is_started_again_takes_the_replica_back() {
    let shared = Shared::new();
    let (first, second) = (shared.host(1), shared.host(2));
    let old = first.start(&shared.replica);
    within(old.sync()).await.unwrap();
    let new = second.start(&shared.replica);
    within(new.sync()).await.unwrap();
    insert(&first.app);
    assert!(within(old.sync()).await.is_err());
    assert!(old.stop(DEADLINE).await.is_err());
    let back = first.start(&shared.replica);
    within(back.sync()).await.unwrap();
    assert_eq!(shared.rows(Target::Latest).await, first.rows());
    let owner = shared.marker().await;
    assert_eq!(owner.epoch(), 3);
    insert(&second.app);
    assert_ends_fenced(new, &owner).await;
    back.stop(DEADLINE).await.unwrap();
    assert_eq!(shared.rows(Target::Latest).await, first.rows());
}

#[tokio::test]
async fn what_the_old_owner_sends_between_listing_and_first_file_of_the_new_one_does_no_harm() {
    let shared = Shared::new();
    let (first, second) = (shared.host(1), shared.host(2));
    let old = first.start(&shared.replica);
    within(old.sync()).await.unwrap();
    let before = shared.last().await;
    // The first file of the new owner waits until the old one was there once more.
    let (arrived, mut arrivals) = mpsc::channel(16);
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let waiting = Arc::clone(&gate);
    let hooked = Hooked::new(&shared.replica, true, move |key| {
        let (arrived, gate) = (arrived.clone(), Arc::clone(&waiting));
        Box::pin(async move {
            // Nobody listens any more after the first.
            let _ = arrived.try_send(key);
            drop(gate.acquire().await);
            Fate::Done
        })
    });
    let new = second.start(&hooked.replica());
    let key = within(arrivals.recv()).await.unwrap();
    let next = before.next().unwrap();
    assert!(key.contains(&next.to_string()), "{key}");
    insert(&first.app);
    within(old.sync()).await.unwrap();
    let taken = shared.last().await;
    gate.add_permits(1000);
    within(async {
        while new.sync().await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(shared.rows(Target::Latest).await, second.rows());
    assert_eq!(shared.rows(Target::Txid(taken)).await, first.rows());
    assert!(shared.is_full(taken.next().unwrap()));
    insert(&first.app);
    assert_ends_fenced(old, &shared.marker().await).await;
    new.stop(DEADLINE).await.unwrap();
    shared.last().await;
    assert_eq!(shared.rows(Target::Latest).await, second.rows());
}

#[tokio::test]
async fn a_new_start_goes_on_in_the_same_epoch_with_increments() {
    let shared = Shared::new();
    let host = shared.host(50);
    for _ in 0..3 {
        let keeper = host.start(&shared.replica);
        insert(&host.app);
        keeper.stop(DEADLINE).await.unwrap();
        assert_eq!(shared.marker().await.epoch(), 1);
    }
    assert!(!shared.is_full(shared.last().await));
}

#[tokio::test]
async fn a_copy_of_a_machine_fences_the_original() {
    let shared = Shared::new();
    let (host, other) = (shared.host(1), shared.host(2));
    let original = host.start(&shared.replica);
    within(original.sync()).await.unwrap();
    std::fs::create_dir(other.meta()).unwrap();
    let identity = |host: &Host| host.meta().join("identity");
    std::fs::copy(identity(&host), identity(&other)).unwrap();
    let copy = other.start(&shared.replica);
    within(copy.sync()).await.unwrap();
    insert(&host.app);
    assert_ends_fenced(original, &shared.marker().await).await;
    copy.stop(DEADLINE).await.unwrap();
    assert_eq!(shared.rows(Target::Latest).await, other.rows());
}

#[tokio::test]
async fn a_file_of_which_only_the_answer_was_lost_is_confirmed_where_it_is() {
    let shared = Shared::new();
    let host = shared.host(1);
    let hooked = Hooked::new(&shared.replica, true, |_| {
        Box::pin(async { Fate::Unanswered })
    });
    let keeper = host.start(&hooked.replica());
    within(keeper.sync()).await.unwrap();
    insert(&host.app);
    within(keeper.sync()).await.unwrap();
    assert_eq!(hooked.count("list ltx/0"), 1, "nothing began again");
    keeper.stop(DEADLINE).await.unwrap();
    assert_eq!(shared.rows(Target::Latest).await, host.rows());
}

#[tokio::test]
async fn a_file_of_an_unknown_writer_is_not_written_over_and_a_full_one_follows_it() {
    let shared = Shared::new();
    let (host, other) = (shared.host(1), shared.host(2));
    let keeper = host.start(&shared.replica);
    within(keeper.sync()).await.unwrap();
    let next = shared.last().await.next().unwrap();
    // As Litestream would: it does not ask who owns the replica.
    let elsewhere = tempfile::tempdir().unwrap();
    let folder = elsewhere.path().join("ltx/0");
    std::fs::create_dir_all(&folder).unwrap();
    for file in shared.replica.list(Level::L0).await.unwrap() {
        let name = file.name.to_string();
        let from = shared.dir.path().join("replica/ltx/0").join(&name);
        std::fs::copy(from, folder.join(name)).unwrap();
    }
    let its = other.start(&Replica::file(elsewhere.path()).unwrap());
    its.stop(DEADLINE).await.unwrap();
    let made = folder.join(format!("{next}-{next}.ltx"));
    std::fs::copy(made, shared.path(next)).unwrap();
    insert(&host.app);
    within(async {
        while keeper.sync().await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(shared.is_full(next.next().unwrap()));
    keeper.stop(DEADLINE).await.unwrap();
    assert_eq!(shared.rows(Target::Latest).await, host.rows());
}

#[tokio::test]
async fn who_slept_while_another_owner_merged_and_deleted_its_files_sends_none() {
    let shared = Shared::new();
    let (first, second) = (shared.host(1), shared.host(2));
    let hooked = Hooked::noting(&shared.replica);
    let old = first.start(&hooked.replica());
    within(old.snapshot(first.folder.join("app.db")))
        .await
        .unwrap();
    let next = shared.last().await.next().unwrap();
    let new = second.start(&shared.replica);
    within(new.snapshot(second.folder.join("app.db")))
        .await
        .unwrap();
    // The number that the first would send next is free again.
    let path = shared.path(next);
    std::fs::remove_file(&path).unwrap();

    old.fleet.members()[0].shared.age_proofs();
    let before = hooked.count("put ltx/0");
    insert(&first.app);
    assert_ends_fenced(old, &shared.marker().await).await;
    assert_eq!(hooked.count("put ltx/0"), before);
    assert!(!path.exists());
    new.stop(DEADLINE).await.unwrap();
    assert_eq!(shared.rows(Target::Latest).await, second.rows());
}

#[tokio::test]
async fn where_writes_have_no_conditions_the_owner_is_asked_for_before_each() {
    let shared = Shared::new();
    let (first, second) = (shared.host(1), shared.host(2));
    let hooked = Hooked::new(&shared.replica, false, |_| Box::pin(async { Fate::Done }));
    let old = first.start(&hooked.replica());
    within(old.sync()).await.unwrap();
    let new = second.start(&shared.replica);
    within(new.sync()).await.unwrap();
    let before = hooked.count("put ltx/0");
    insert(&first.app);
    assert_ends_fenced(old, &shared.marker().await).await;
    assert_eq!(hooked.count("put ltx/0"), before);
    new.stop(DEADLINE).await.unwrap();
    assert_eq!(shared.rows(Target::Latest).await, second.rows());
}

#[tokio::test]
async fn where_writes_have_no_conditions_nothing_is_durable_that_another_owner_may_overwrite() {
    let shared = Shared::new();
    let (first, second) = (shared.host(1), shared.host(2));
    let (arrived, mut arrivals) = mpsc::channel(16);
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let waiting = Arc::clone(&gate);
    let hooked = Hooked::new(&shared.replica, false, move |key| {
        let (arrived, gate) = (arrived.clone(), Arc::clone(&waiting));
        Box::pin(async move {
            let _ = arrived.try_send(key);
            drop(gate.acquire().await);
            Fate::Done
        })
    });
    let old = first.start(&hooked.replica());
    within(arrivals.recv()).await.unwrap();
    // It asked, and is about to write: somebody else takes over and is idle.
    let new = second
        .start(&Hooked::new(&shared.replica, true, |_| Box::pin(std::future::pending())).replica());
    within(async {
        while shared.marker().await.epoch() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    gate.add_permits(1000);
    let owner = shared.marker().await;
    assert_ends_fenced(old, &owner).await;
    assert!(new.stop(Duration::ZERO).await.is_err());
}

#[tokio::test]
async fn a_lost_newest_file_is_sent_again_if_it_is_here() {
    let shared = Shared::new();
    let host = shared.host(3);
    let keeper = host.start(&shared.replica);
    within(keeper.sync()).await.unwrap();
    insert(&host.app);
    keeper.stop(DEADLINE).await.unwrap();
    let last = shared.last().await;
    assert_eq!(shared.marker().await.head(), Some(last));
    std::fs::remove_file(shared.path(last)).unwrap();
    let keeper = host.start(&shared.replica);
    within(keeper.sync()).await.unwrap();
    assert_eq!(keeper.status().databases[0].head_missing, None);
    keeper.stop(DEADLINE).await.unwrap();
    assert!(shared.last().await >= last && shared.path(last).exists());
    assert_eq!(shared.rows(Target::Latest).await, host.rows());
}

#[tokio::test]
async fn a_newest_file_that_is_lost_on_both_sides_is_told_and_a_full_one_takes_its_place() {
    let shared = Shared::new();
    let host = shared.host(3);
    let keeper = host.start(&shared.replica);
    within(keeper.sync()).await.unwrap();
    // Not later: it would hold what is lost.
    within(keeper.snapshot(host.folder.join("app.db")))
        .await
        .unwrap();
    for _ in 0..3 {
        insert(&host.app);
        within(keeper.sync()).await.unwrap();
    }
    keeper.stop(DEADLINE).await.unwrap();
    let last = shared.last().await;
    let lost: Vec<Txid> = (last.get() - 1..=last.get())
        .filter_map(Txid::new)
        .collect();
    for txid in &lost {
        let local = host.meta().join(format!("ltx/0/{txid}-{txid}.ltx"));
        std::fs::remove_file(shared.path(*txid)).unwrap();
        std::fs::remove_file(local).unwrap();
    }
    let output = shared.dir.path().join("restored.db");
    let mut options = RestoreOptions::new(&output);
    let error = restore(&shared.replica, options.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains(&last.to_string()), "{error}");
    options.allow_missing_tail = true;
    let restored = restore(&shared.replica, options).await.unwrap();
    assert_eq!(restored.expected_txid, Some(last));
    assert_eq!(restored.txid.next(), Some(lost[0]));
    let keeper = host.start(&shared.replica);
    within(keeper.sync()).await.unwrap();
    assert_eq!(keeper.status().databases[0].head_missing, Some(last));
    assert!(shared.is_full(lost[0]), "numbered after what is left");
    keeper.stop(DEADLINE).await.unwrap();
    let last = shared.last().await;
    assert_eq!(shared.marker().await.head(), Some(last));
    assert_eq!(shared.rows(Target::Latest).await, host.rows());
}

#[tokio::test]
async fn a_damaged_or_deleted_marker_is_made_again() {
    let shared = Shared::new();
    let host = shared.host(1);
    let path = shared.dir.path().join("replica").join(MARKER_KEY);
    for damage in [Some("{"), None] {
        let keeper = host.start(&shared.replica);
        within(keeper.sync()).await.unwrap();
        match damage {
            Some(text) => std::fs::write(&path, text).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        insert(&host.app);
        keeper.stop(DEADLINE).await.unwrap();
        let marker = shared.marker().await;
        assert_eq!(marker.head(), Some(shared.last().await));
    }
}

#[tokio::test]
async fn a_database_is_replicated_by_one_engine_only() {
    let (dir, app) = fixture();
    let keeper = start(dir.path(), |_| {});
    let entry = || vec![Entry::File(settings(dir.path(), |_| {}))];
    let error = Lockkeeper::spawn(entry(), common(), ReplicationLog::current()).unwrap_err();
    let text = error.to_string();
    for part in [
        "app.db",
        ".app.db-litestream",
        &std::process::id().to_string(),
    ] {
        assert!(text.contains(part), "{text}");
    }
    insert(&app);
    keeper.stop(DEADLINE).await.unwrap();
    let keeper = Lockkeeper::spawn(entry(), common(), ReplicationLog::current()).unwrap();
    keeper.stop(DEADLINE).await.unwrap();
    assert_eq!(restored_rows(dir.path()).await, 1);
}

#[tokio::test]
async fn two_databases_with_one_place_are_refused_with_both_names() {
    let (dir, _app) = fixture();
    let entry = |name: &str, place: &str| {
        Entry::File(settings(dir.path(), |settings| {
            settings.path = dir.path().join(name);
            settings.replica.place = ReplicaPlace::File(dir.path().join(place));
        }))
    };
    let both = vec![
        entry("app.db", "replica"),
        entry("two.db", "x/../replica/."),
    ];
    let error = Lockkeeper::spawn(both, common(), ReplicationLog::current())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("app.db") && error.contains("two.db"),
        "{error}"
    );
    // Nothing of the refused start is left.
    let keeper = Lockkeeper::spawn(
        vec![entry("app.db", "replica")],
        common(),
        ReplicationLog::current(),
    )
    .unwrap();
    let other = vec![entry("two.db", "replica/ltx")];
    let error = Lockkeeper::spawn(other, common(), ReplicationLog::current())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("app.db") && error.contains("two.db"),
        "{error}"
    );
    keeper.stop(DEADLINE).await.unwrap();
}

#[tokio::test]
async fn a_stop_that_takes_too_long_leaves_the_database_free() {
    let shared = Shared::new();
    let host = shared.host(1);
    let (arrived, mut arrivals) = mpsc::channel(16);
    let stuck = Hooked::new(&shared.replica, true, move |key| {
        let _ = arrived.try_send(key);
        Box::pin(std::future::pending())
    });
    let keeper = host.start(&stuck.replica());
    within(arrivals.recv()).await.unwrap();
    let error = keeper.stop(Duration::from_millis(100)).await.unwrap_err();
    assert!(error.to_string().contains("app.db"), "{error}");
    assert_eq!(crate::lock::holder(&host.meta()), None);
    let keeper = host.start(&shared.replica);
    keeper.stop(DEADLINE).await.unwrap();
    assert_eq!(shared.rows(Target::Latest).await, host.rows());
}

#[tokio::test]
async fn a_dropped_engine_leaves_the_database_free() {
    let (dir, app) = fixture();
    insert(&app);
    drop(start(dir.path(), |_| {}));
    within(async {
        while crate::lock::holder(&dir.path().join(".app.db-litestream")).is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let keeper = start(dir.path(), |_| {});
    keeper.stop(DEADLINE).await.unwrap();
    assert_eq!(restored_rows(dir.path()).await, 1);
}

#[tokio::test]
async fn a_busy_database_of_a_directory_is_waited_for() {
    let (dir, app) = fixture();
    insert(&app);
    let first = start(dir.path(), |settings| {
        settings.replica.place = ReplicaPlace::File(dir.path().join("elsewhere"));
    });
    let keeper = start_entry(Entry::Directory(DirectorySettings {
        path: dir.path().to_owned(),
        pattern: glob::Pattern::new("*.db").unwrap(),
        recursive: false,
        watch: true,
        meta_path: None,
        meta_dir: None,
        database: settings(dir.path(), |_| {}),
    }));
    let is_refused = || {
        let databases = keeper.status().databases;
        databases.first().is_some_and(|database| {
            matches!(&database.state, DatabaseState::Failing(why) if why.contains("pid"))
        })
    };
    within(async {
        while !is_refused() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    first.stop(DEADLINE).await.unwrap();
    within(async {
        while keeper.sync().await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    keeper.stop(DEADLINE).await.unwrap();
}
