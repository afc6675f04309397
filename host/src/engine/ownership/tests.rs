use object_store::memory::InMemory;

use super::*;
use crate::engine::tests::hooked::Hooked;
use crate::store::{Layout, ObjectStoreAdapter};
use lockkeeper_core::ownership::Token;

fn txid(n: u64) -> Txid {
    Txid::new(n).unwrap()
}

struct Subject {
    store: Arc<Hooked>,
    shared: Arc<DatabaseShared>,
    ownership: Ownership,
}

impl Subject {
    async fn claimed() -> Self {
        let memory = ObjectStoreAdapter::new(Arc::new(InMemory::new()), "").unwrap();
        let store = Hooked::noting(&Replica::new(Arc::new(memory), Layout::Standard));
        let subject = Self::of(store, 1);
        subject.ownership.claim().await.unwrap();
        subject
    }

    fn of(store: Arc<Hooked>, owner: u128) -> Self {
        let shared = Arc::new(DatabaseShared::new(
            "app.db".into(),
            Replica::file("replica").unwrap(),
        ));
        let writer = Writer {
            owner: Token::new(owner),
            run: Token::new(owner),
            database: "app.db".into(),
        };
        let ownership = Ownership::new(
            store.replica(),
            writer,
            Arc::clone(&shared),
            Policy::built_in(),
        );
        Self {
            store,
            shared,
            ownership,
        }
    }

    /// Runs `work` while the head is noted.
    async fn noting(&self, work: impl Future<Output = ()>) {
        tokio::select! {
            ended = self.ownership.keep_noting() => panic!("{ended:?}"),
            () = work => {}
        }
    }

    async fn head(&self) -> Option<Txid> {
        self.ownership.read().await.unwrap().0.unwrap().head()
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_database_notes_its_head_twice_a_minute_and_an_idle_one_makes_no_request() {
    let subject = Subject::claimed().await;
    let busy = async {
        for n in 1..=600 {
            subject.shared.confirmed(txid(n), Duration::ZERO);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    subject.noting(busy).await;
    let notes = subject.store.count("put_if");
    assert!((20..=22).contains(&notes), "{notes} in ten minutes");
    let quiet = async {
        tokio::time::sleep(NOTE_INTERVAL + SETTLE).await;
        assert_eq!(subject.head().await, Some(txid(600)));
        let before = subject.store.count("");
        tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
        assert_eq!(subject.store.count(""), before);
    };
    // The last confirmation of the busy time may not be noted yet.
    subject.shared.confirmed(txid(600), Duration::ZERO);
    let noting = subject.noting(async {
        tokio::task::yield_now().await;
        subject.shared.confirmed(txid(600), Duration::ZERO);
        quiet.await;
    });
    noting.await;
}

#[tokio::test(start_paused = true)]
async fn whoever_was_taken_over_learns_it_with_the_next_head() {
    let old = Subject::claimed().await;
    let new = Subject::of(Arc::clone(&old.store), 2);
    new.ownership.claim().await.unwrap();
    let confirm = async {
        tokio::task::yield_now().await;
        old.shared.confirmed(txid(1), Duration::ZERO);
        std::future::pending().await
    };
    let ended = tokio::select! {
        ended = old.ownership.keep_noting() => ended,
        () = confirm => return,
    };
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Fenced);
    assert!(old.shared.subscribe_fenced().borrow().is_some());
    assert_eq!(old.head().await, None, "nothing was written over");
}

#[tokio::test(start_paused = true)]
async fn a_proof_of_ownership_is_asked_for_only_when_it_is_old() {
    let subject = Subject::claimed().await;
    let before = subject.store.count("");
    subject.ownership.check_if_old().await.unwrap();
    assert_eq!(subject.store.count(""), before);
    tokio::time::sleep(PROOF_AGE_MAX).await;
    subject.ownership.check_if_old().await.unwrap();
    assert_eq!(subject.store.count(""), before + 1);
}

#[tokio::test(start_paused = true)]
async fn a_loss_stays_on_record_until_a_file_took_the_place_of_what_was_lost() {
    let subject = Subject::claimed().await;
    subject.ownership.note(Some(txid(9))).await.unwrap();
    subject.ownership.reconciled(Some(Some(txid(7)))).await;
    subject.ownership.note(Some(txid(7))).await.unwrap();
    assert_eq!(subject.head().await, Some(txid(9)));
    subject.ownership.note(Some(txid(8))).await.unwrap();
    assert_eq!(subject.head().await, Some(txid(8)));
}
