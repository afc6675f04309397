//! The table in `docs/stores.md`: what each server did in this run.

use std::fmt::Write as _;

use lockkeeper::restore::Target;
use lockkeeper::store::{Replica, Verdict, conformance, examine};
use lockkeeper_tests::fake_gcs::FakeGcs;
use lockkeeper_tests::servers::Server;

use super::support::{Subject, put_twenty, replica, restored, stop};

const BEGIN: &str = "<!-- matrix: begin -->\n";
const END: &str = "<!-- matrix: end -->";

/// What one server did.
struct Row {
    title: &'static str,
    described: Box<dyn Fn(&str) -> String>,
}

impl Row {
    async fn write(&self, table: &mut String) {
        let at = |path: &str| replica(&(self.described)(path));
        let contract = at("matrix/contract");
        conformance(contract.store().as_ref()).await;
        let races = contract.store().excludes_races(1);
        let checks = examine(at("matrix/doctor").store().as_ref()).await;
        let verdicts: Vec<&str> = checks
            .iter()
            .map(|check| match check.verdict {
                Verdict::Passed => "yes",
                Verdict::Noted(_) => "noted",
                _ => "no",
            })
            .collect();
        let is_whole = verdicts.iter().all(|verdict| *verdict == "yes");
        let restore = self.restore().await;
        let delete = delete(&at("matrix/deleted")).await;
        writeln!(
            table,
            "| {} | yes | {} | {} | {restore} | {delete} |",
            self.title,
            if is_whole { "yes" } else { "in part" },
            if races { "yes" } else { "no" },
        )
        .unwrap();
    }

    /// The requests that a restore of a small replica takes.
    async fn restore(&self) -> String {
        let subject = Subject::new(&(self.described)("matrix/small"));
        let keeper = subject.start().await;
        subject.insert(3, 1000);
        stop(keeper).await;
        let replica = subject.replica();
        let _ = restored(&replica, Target::Latest).await;
        let counts = replica.requests();
        format!("{} LIST, {} HEAD", counts.list, counts.head)
    }
}

/// The requests that it takes to delete twenty files.
async fn delete(replica: &Replica) -> u64 {
    let files = put_twenty(replica).await;
    replica.delete_all(&files).await.unwrap();
    replica.requests().delete
}

#[tokio::test]
async fn the_documentation_has_what_the_servers_did() {
    let servers = [
        ("S3: SeaweedFS 4.48", Server::seaweedfs()),
        ("S3: moto 5.2.5", Server::moto()),
        ("Azure Blob: Azurite 3.37.0", Server::azurite()),
    ];
    let mut table = String::from(
        "| Server | Contract | `doctor` | Two writers are told apart | Restore of a small replica | \
         Requests to delete 20 files |\n|---|---|---|---|---|---|\n",
    );
    for (title, server) in servers {
        let Some(server) = server else {
            return;
        };
        let described = Box::new(|path: &str| server.replica(path));
        Row { title, described }.write(&mut table).await;
    }
    let google = FakeGcs::start();
    let row = Row {
        title: "Google Cloud Storage: stand-in of the tests",
        described: Box::new(move |path| google.replica(path)),
    };
    row.write(&mut table).await;
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/stores.md");
    let text = std::fs::read_to_string(file).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (there, after) = rest.split_once(END).unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some_and(|value| value == "1") {
        std::fs::write(file, format!("{before}{BEGIN}\n{table}\n{END}{after}")).unwrap();
    } else {
        assert_eq!(there.trim(), table.trim(), "run `UPDATE_DOCS=1 cargo test`");
    }
}
