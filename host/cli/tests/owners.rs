//! Several processes at one database, and at one replica.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

use lockkeeper_tests::litestream::{Litestream, NEWEST};
use lockkeeper_tests::process::{Ended, Running};
use lockkeeper_tests::{database, oracle};
use serde_json::Value;
use tempfile::TempDir;

/// A machine: its database, and what is configured for it.
struct Machine {
    folder: TempDir,
    replica: PathBuf,
    writer: oracle::Writer,
    written: i64,
}

impl Machine {
    fn new(replica: &Path, commits: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        let config = format!(
            "socket: {{enabled: true, path: {0}/control.sock}}\n\
             dbs:\n  - path: {0}/app.db\n    replica: {{path: {1}, sync-interval: 50ms}}\n",
            folder.path().display(),
            replica.display()
        );
        std::fs::write(folder.path().join("litestream.yml"), config).unwrap();
        let mut machine = Self {
            writer: oracle::Writer::open(&path, 1),
            folder,
            replica: replica.to_owned(),
            written: 0,
        };
        machine.write(commits);
        machine
    }

    fn write(&mut self, commits: u32) {
        for _ in 0..commits {
            self.written = self.writer.write();
        }
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("litestream.yml")
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockkeeper"));
        command
            .args(line.split(' '))
            .args(["-config", "litestream.yml"])
            .current_dir(self.folder.path());
        command
    }

    fn replicate(&self) -> Running {
        let mut running = Running::start(&mut self.command("replicate"));
        running.wait_for("it replicates", |line| line.contains("state=Replicating"));
        running
    }

    fn run(&self, line: &str, database: &[&str]) -> Ended {
        Running::start(self.command(line).args(database)).finish()
    }

    #[track_caller]
    fn sync(&self) {
        let ended = self.run("sync -wait", &["app.db"]);
        assert!(ended.status.success(), "{ended:?}");
    }

    fn state(&self) -> Value {
        let ended = self.run("status -json", &[]);
        let all: Value = serde_json::from_str(&ended.printed.join("\n")).unwrap();
        all[0]["running"]["state"].clone()
    }

    /// Fails unless both programs restore this database.
    #[track_caller]
    fn assert_restores(&mut self, litestream: Option<&Litestream>) {
        let output = self.folder.path().join("restored.db");
        let ended = self.run("restore", &["-o", output.to_str().unwrap(), "app.db"]);
        assert!(ended.status.success(), "{ended:?}");
        let ours = std::fs::read(&output).unwrap();
        let truth = database::bytes(self.writer.connection());
        database::assert_same_bytes(&ours, &truth, "the database");
        assert_eq!(oracle::check(&output, 1), [self.written]);
        for left in [&output, &database::wal(&output), &database::shm(&output)] {
            let _ = std::fs::remove_file(left);
        }
        if let Some(litestream) = litestream {
            let theirs = litestream.restored(&self.replica, &[]);
            database::assert_same_bytes(&theirs, &ours, "both programs");
        }
    }
}

#[test]
fn a_second_process_is_refused_a_database_and_the_first_goes_on() {
    let replica = tempfile::tempdir().unwrap();
    let mut machine = Machine::new(replica.path(), 3);
    let first = machine.replicate();
    let refused = machine.run("replicate", &[]);
    let said = refused.printed.join("\n");
    assert_eq!(refused.status.code(), Some(1), "{said}");
    let pid = format!("is used by the process with pid {}", first.id());
    assert!(said.contains(&pid) && said.contains("app.db"), "{said}");
    machine.write(3);
    machine.sync();
    assert_eq!(first.terminate().status.code(), Some(0));
    machine.assert_restores(None);
    // The lock went with its holder.
    let next = machine.replicate();
    machine.write(1);
    machine.sync();
    drop(next.kill());
    assert_eq!(machine.replicate().terminate().status.code(), Some(0));
    machine.assert_restores(None);
}

#[test]
fn of_two_machines_at_one_replica_the_later_has_it_and_the_earlier_says_so() {
    let replica = tempfile::tempdir().unwrap();
    let litestream = Litestream::find(NEWEST);
    let (mut old, mut new) = (
        Machine::new(replica.path(), 10),
        Machine::new(replica.path(), 20),
    );
    let first = old.replicate();
    old.sync();
    let second = new.replicate();
    new.sync();
    old.write(1);
    let ended = old.run("sync -wait", &["app.db"]);
    let said = ended.printed.join("\n");
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("belongs to another writer"), "{said}");
    assert_eq!(old.state(), "fenced");
    assert_eq!(new.state(), "replicating");
    new.write(5);
    new.sync();
    new.assert_restores(litestream.as_ref());
    assert_eq!(first.terminate().status.code(), Some(1));
    new.write(5);
    assert_eq!(second.terminate().status.code(), Some(0));
    new.assert_restores(litestream.as_ref());
}

#[test]
fn litestream_that_runs_beside_us_at_one_database_does_no_lasting_harm() {
    let Some(litestream) = Litestream::find(NEWEST) else {
        return;
    };
    let replica = tempfile::tempdir().unwrap();
    let mut machine = Machine::new(replica.path(), 10);
    let without_socket = machine.folder.path().join("official.yml");
    let config = std::fs::read_to_string(machine.config()).unwrap();
    let (_, rest) = config.split_once('\n').unwrap();
    std::fs::write(&without_socket, rest).unwrap();
    let mut official = litestream.replicate(&without_socket);
    official.wait_for("it has begun", |line| line.contains("replica sync"));
    machine.write(10);
    // It was forgotten, and goes on.
    let ours = machine.replicate();
    for _ in 0..20 {
        machine.write(10);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(!official.has_ended());
    drop(official.kill());
    machine.write(10);
    machine.sync();
    machine.assert_restores(Some(&litestream));
    assert_eq!(ours.terminate().status.code(), Some(0));
    machine.assert_restores(Some(&litestream));
    let ended = machine.run("verify", &["app.db"]);
    assert!(ended.status.success(), "{ended:?}");
}
