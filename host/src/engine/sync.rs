//! Waiting for what is committed: until it is sealed here, or until the replica has it.

use lockkeeper_ltx::Txid;
use tokio::sync::oneshot;

use super::database::Command;
use super::fleet::{Handle, stopped};
use crate::{Error, ErrorKind, Result};

/// What is waited for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Until {
    /// It is sealed in a local file.
    Spooled,
    /// The replica confirmed it.
    Durable,
}

/// How far a database was after a sync.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Synced {
    /// The last transaction in a sealed local file; everything that was committed is in it or
    /// before it.
    pub spooled: Option<Txid>,
    /// The last transaction the replica confirmed, with all before it.
    pub durable: Option<Txid>,
    /// Whether there was anything to seal.
    pub changed: bool,
}

impl Handle {
    /// Whether the task of the database can be asked.
    pub(crate) fn is_running(&self) -> bool {
        !self.commands.is_closed()
    }

    /// Seals what is committed now and waits for it, without a bound.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the database cannot be captured, or replication has stopped; `Fenced` if
    /// another writer took the replica over.
    pub(crate) async fn sync(self, until: Until) -> Result<Synced> {
        let mut fenced = self.shared.subscribe_fenced();
        tokio::select! {
            biased;
            Ok(why) = fenced.wait_for(Option::is_some) => {
                Err(Error::new(ErrorKind::Fenced, why.clone().unwrap_or_default()))
            }
            synced = self.while_running(self.seal_and_wait(until)) => synced,
        }
    }

    async fn seal_and_wait(&self, until: Until) -> Result<Synced> {
        let mut durable = self.shared.subscribe_durable();
        let before = self.shared.read(|marks| marks.spooled);
        loop {
            let run = durable.borrow_and_update().run;
            let (reply, answer) = oneshot::channel();
            let sent = self.commands.send(Command::Sync(reply)).await;
            sent.map_err(stopped)?;
            // Without an answer the database was about to be opened: it is asked again.
            let Ok(spooled) = answer.await else { continue };
            let spooled = spooled?;
            let reached = durable
                .wait_for(|it| until == Until::Spooled || it.run != run || it.txid >= spooled);
            let known = *reached.await.map_err(stopped)?;
            // A run that began meanwhile may have numbered the transactions anew.
            if known.run == run {
                return Ok(Synced {
                    spooled,
                    durable: known.txid,
                    changed: spooled > before,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use crate::{ErrorKind, Lockkeeper};

    /// Far longer than anything takes.
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

    /// Two databases, and a file where the folder of the second one's replica would be.
    fn one_and_a_blocked_one() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "in the way").unwrap();
        for name in ["app.db", "blocked.db"] {
            let app = Connection::open(dir.path().join(name)).unwrap();
            app.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE t (x)")
                .unwrap();
        }
        dir
    }

    #[tokio::test]
    async fn a_sync_of_one_database_waits_for_no_other_and_knows_it_by_every_name() {
        let dir = one_and_a_blocked_one();
        let path = |name: &str| dir.path().join(name);
        std::os::unix::fs::symlink("app.db", path("link.db")).unwrap();
        let config = "dbs:\n  - {path: app.db, replica: {path: replica}}\n  \
                      - {path: blocked.db, replica: {path: file/replica}}\n";
        let builder = Lockkeeper::builder().config(config).base_dir(dir.path());
        let keeper = builder.start().await.unwrap();
        for name in ["app.db", "link.db"] {
            let synced = keeper.sync_database(path(name)).await.unwrap();
            assert!(synced.durable.is_some() && synced.durable == synced.spooled);
        }
        let error = keeper.sync_database(path("other.db")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    #[tokio::test]
    async fn who_waits_is_told_when_nobody_is_left_to_do_it() {
        let dir = one_and_a_blocked_one();
        let path = |name: &str| dir.path().join(name);
        let one = "dbs:\n  - {path: app.db, replica: {path: replica}}\n";
        let both = format!("{one}  - {{path: blocked.db, replica: {{path: file/replica}}}}\n");
        let builder = |config: &str| Lockkeeper::builder().config(config).base_dir(dir.path());
        let keeper = builder(&both).start().await.unwrap();
        let blocked = path("blocked.db");
        let without = builder(one);
        let wait = async {
            tokio::join!(
                keeper.sync_database(&blocked),
                keeper.snapshot(&blocked),
                keeper.enforce_retention(&blocked),
                keeper.verify(&blocked),
                keeper.reload(&without),
            )
        };
        let told = tokio::time::timeout(PATIENCE, wait).await;
        let (synced, snapshot, pass, proof, reloaded) = told.expect("nobody waits for ever");
        reloaded.unwrap();
        for error in [
            synced.unwrap_err(),
            snapshot.unwrap_err(),
            pass.unwrap_err(),
            proof.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        }
    }
}
