//! C: restoring with what is in the database.

use rusqlite::Connection;

use crate::column;
use crate::support::{DUMP, YML, ok, quickstart};

#[test]
fn c5_a_database_is_restored_by_the_configuration_of_one_that_survived() {
    let dir = quickstart();
    let connection = Connection::open(dir.path().join("app.db")).expect("a database");
    connection
        .execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES ('kept')")
        .expect("a commit");
    ok(dir.path(), "-dbpath app.db replicate -once");
    drop(connection);
    std::fs::rename(dir.path().join("app.db"), dir.path().join("old.db")).expect("rename");
    ok(dir.path(), "-dbpath old.db restore -o new.db ./app.db");
    assert_eq!(
        column(&dir.path().join("new.db"), "SELECT x FROM t"),
        ["kept"]
    );
    let by_url = format!(
        "restore -o url.db file://{}/litestream-replicas",
        dir.path().display()
    );
    ok(dir.path(), &by_url);
    assert_eq!(
        column(&dir.path().join("url.db"), "SELECT x FROM t"),
        ["kept"]
    );
    // The configuration came back with the data.
    let dump = DUMP.replace("app.db", "new.db");
    assert_eq!(ok(dir.path(), &dump), YML);
}
