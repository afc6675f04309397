//! The embedding in ten lines, in a temporary folder.

use std::time::Duration;

use lockkeeper::Lockkeeper;
use rusqlite::Connection;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    std::env::set_current_dir(&folder)?;

    let app = Connection::open("app.db")?;
    app.pragma_update(None, "journal_mode", "wal")?;

    let keeper = Lockkeeper::builder()
        .config("dbs:\n  - path: app.db\n    replica: {path: backup}\n")
        .start()
        .await?;
    app.execute_batch("CREATE TABLE guests (name); INSERT INTO guests VALUES ('Ada')")?;
    keeper.sync().await?; // committed until here, so durable from here

    for database in keeper.status().databases {
        let (path, replica) = (database.path.display(), database.replica);
        if let Some(txid) = database.durable {
            println!("{path}: every transaction up to {txid} is in {replica}");
        }
    }
    keeper.stop(Duration::from_secs(15)).await?;
    Ok(())
}
