//! What replicates at the moment.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lockkeeper::control::{Client, SyncRequest};
use lockkeeper_ltx::Txid;
use lockkeeper_tests::litestream::Litestream;
use lockkeeper_tests::process::Running;
use lockkeeper_tests::subject::{Answer, Order, Subject};
use tokio::runtime::Runtime;

use crate::history::Settings;

const TIMEOUT: Duration = Duration::from_secs(30);

/// A process that replicates, beside or within the application.
#[derive(Debug)]
pub(crate) enum Replicator {
    /// The application itself.
    Within,
    Beside(Subject),
    Litestream {
        running: Running,
        socket: PathBuf,
    },
}

impl Replicator {
    /// Starts the official program.
    pub(crate) fn litestream(program: &Litestream, folder: &Path, settings: &Settings) -> Self {
        let socket = folder.join("control.sock");
        // One that was killed leaves it behind.
        let _ = std::fs::remove_file(&socket);
        let listen = format!("socket: {{enabled: true, path: {}}}\n", socket.display());
        let file = folder.join("litestream.yml");
        std::fs::write(&file, listen + &config(folder, settings)).unwrap();
        Self::Litestream {
            running: program.replicate(&file),
            socket,
        }
    }

    /// Tries to make everything durable that is committed; returns the last transaction.
    pub(crate) fn sync(
        &mut self,
        app: &mut Subject,
        folder: &Path,
        runtime: &Runtime,
    ) -> Result<Txid, String> {
        let process = match self {
            Self::Within => app,
            Self::Beside(process) => process,
            Self::Litestream { socket, .. } => {
                let client = Client::new(socket.clone(), TIMEOUT);
                let request = SyncRequest {
                    path: folder.join("app.db").display().to_string(),
                    wait: true,
                    timeout: 30,
                };
                let synced = runtime.block_on(client.sync(&request));
                let synced = synced.map_err(|error| error.to_string())?;
                if synced.replicated_txid < synced.txid {
                    return Err(format!("{synced:?}"));
                }
                return Txid::new(synced.txid).ok_or_else(|| "nothing was synced".to_owned());
            }
        };
        match process.ask(&Order::Sync) {
            Answer::Durable(txid) => Ok(Txid::new(txid).unwrap()),
            Answer::Failed(error) => Err(error),
            answer => panic!("{answer:?}"),
        }
    }
}

/// Quick and small everything, so that a history has all of it.
pub(crate) fn config(folder: &Path, settings: &Settings) -> String {
    let Settings {
        min_checkpoint_pages,
        truncate_pages,
        sync_bytes_max,
        ..
    } = settings;
    let folder = folder.display();
    format!(
        "snapshot: {{interval: 1s, retention: 2s}}
levels: [{{interval: 300ms}}, {{interval: 1s}}]
l0-retention: 500ms
l0-retention-check-interval: 100ms
dbs:
  - path: {folder}/app.db
    monitor-interval: 50ms
    checkpoint-interval: 700ms
    min-checkpoint-page-count: {min_checkpoint_pages}
    truncate-page-n: {truncate_pages}
    max-sync-wal-bytes: {sync_bytes_max}
    replica: {{path: {folder}/replica, sync-interval: 50ms}}
"
    )
}
