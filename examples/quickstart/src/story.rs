//! The steps, from an empty folder to a lost disk and back.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use lockkeeper::config::{ConfigStore, Identities, KeyFile, KeyFileCheck, LITESTREAM_SCOPE};
use lockkeeper::restore::{IntegrityCheck, RestoreOptions, Restored, restore};
use lockkeeper::store::Replica;
use rusqlite::{Connection, OpenFlags};

use crate::application::{Application, Message};
use crate::report::{Report, line};

/// Enough to need several files in the replica, and still quick.
const MESSAGES: u32 = 200;

const LITESTREAM_YML: &str = "\
dbs:
  - path: ./app.db
    replicas:
      - type: file
        path: ./litestream-replicas
";

/// Runs every step in a temporary folder.
///
/// # Errors
///
/// If a step fails, or a message is not as it was acknowledged.
pub(crate) fn tell(keep: bool) -> Result<()> {
    let mut folder = tempfile::Builder::new()
        .prefix("lockkeeper-quickstart-")
        .tempdir()
        .context("cannot make a temporary folder")?;
    folder.disable_cleanup(keep);
    let path = folder.path();
    line(&format!("lockkeeper quickstart, in {}\n", path.display()));
    let told = steps(path);
    if keep {
        line(&format!("The files are in {}", path.display()));
    }
    told
}

fn steps(folder: &Path) -> Result<()> {
    let mut report = Report::new();
    let identities = prepare(folder)?;
    report.step("made a key and a database; saved litestream.yml in it, encrypted");

    let application = Application::start(folder)?;
    report.step(&format!(
        "started a guest book at {}; it replicates itself",
        application.url()
    ));
    let signed = sign(&application)?;
    report.step(&format!(
        "wrote {} messages over HTTP; each was acknowledged",
        signed.len()
    ));
    let durable = application.sync()?;
    report.step(&format!(
        "waited until all is durable: the replica confirmed transaction {durable}"
    ));
    application.kill()?;
    report.step("killed the application with SIGKILL: no last flush, no goodbye");
    let lost = lose_the_disk(folder)?;
    report.step(&format!("lost the disk: deleted {}", lost.join(", ")));

    let restored = bring_back(folder)?;
    report.step(&format!(
        "restored app.db from {} files: {} bytes, up to transaction {}",
        restored.files,
        restored.size,
        restored.txid.get()
    ));
    compare(folder, &signed)?;
    report.step(&format!(
        "compared row by row: {0} of {0} messages are there, none lost, none changed",
        signed.len()
    ));
    let config = ConfigStore::open(folder.join("app.db"))?.get(&identities, LITESTREAM_SCOPE, 0)?;
    ensure!(
        config.plaintext.as_slice() == LITESTREAM_YML.as_bytes(),
        "the configuration is not what was saved"
    );
    report.step("opened the configuration in it with the key: it is the same");

    let application = Application::start(folder)?;
    let next = application.sign("Visitor".to_owned(), "Still here?".to_owned())?;
    ensure!(
        next.id == i64::from(MESSAGES) + 1,
        "message {} was given a number that was used before",
        next.id
    );
    let durable = application.sync()?;
    application.stop()?;
    report.step(&format!(
        "started it again and wrote message {}: durable as transaction {durable}",
        next.id
    ));
    report.end("Nothing that was durable was lost.");
    Ok(())
}

/// What `lockkeeper keygen`, `app create` and `config save` do.
fn prepare(folder: &Path) -> Result<Identities> {
    let key = folder.join("age_key.txt");
    KeyFile::generate().write(&key)?;
    let identities = KeyFile::read(&key, KeyFileCheck::Strict)?;
    let store = ConfigStore::create(folder.join("app.db"), &identities)?;
    let yml = LITESTREAM_YML.as_bytes();
    store.save(&identities, LITESTREAM_SCOPE, yml, "yml", "Quickstart")?;
    Ok(identities)
}

fn sign(application: &Application) -> Result<Vec<Message>> {
    (1..=MESSAGES)
        .map(|number| {
            let name = ["Ada", "Grace", "Edsger", "Łukasz", "美咲"];
            let name = name[number as usize % name.len()].to_owned();
            let text = format!("Message {number}: \"quotes\", <b>markup</b>,\nanother line, 🚢");
            application.sign(name, text)
        })
        .collect()
}

/// Deletes the database with all that belongs to it. The key and the replica are elsewhere in a
/// real setting; here they stay.
fn lose_the_disk(folder: &Path) -> Result<Vec<&'static str>> {
    for name in ["app.db", "app.db-wal", "app.db-shm"] {
        match fs::remove_file(folder.join(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    fs::remove_dir_all(folder.join(".app.db-litestream"))?;
    Ok(vec!["app.db", "-wal", "-shm", ".app.db-litestream"])
}

fn bring_back(folder: &Path) -> Result<Restored> {
    let replica = Replica::file(folder.join("litestream-replicas"))?;
    let options = RestoreOptions {
        integrity_check: IntegrityCheck::Full,
        ..RestoreOptions::new(folder.join("app.db"))
    };
    let runtime = tokio::runtime::Runtime::new()?;
    Ok(runtime.block_on(restore(&replica, options))?)
}

/// Holds the restored rows against what the application had acknowledged.
fn compare(folder: &Path, signed: &[Message]) -> Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    let db = Connection::open_with_flags(folder.join("app.db"), flags)?;
    let mut rows = db.prepare("SELECT id, name, message FROM guestbook ORDER BY id")?;
    let rows = rows.query_map([], |row| {
        Ok(Message {
            id: row.get(0)?,
            name: row.get(1)?,
            text: row.get(2)?,
        })
    })?;
    let found = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    let missing = signed.iter().filter(|message| !found.contains(message));
    let strange = found.iter().filter(|message| !signed.contains(message));
    match (missing.count(), strange.count()) {
        (0, 0) => Ok(()),
        (missing, strange) => bail!(
            "of {} acknowledged messages {missing} are not as they were; {strange} rows were never \
             acknowledged",
            signed.len()
        ),
    }
}
