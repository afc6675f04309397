//! The other process of the tests: an application that uses the same SQLite.
//!
//! - `visit DATABASE TABLE`: opens it, prints how many rows there are, closes.
//! - `commit DATABASE`: commits once for each line of its input.
//! - `write DATABASE WRITER COUNT`: opens it, commits as that writer of the oracle, closes.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::io::{BufRead, stdin};
use std::path::Path;

use lockkeeper_tests::{database, oracle};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["visit", path, table] => visit(Path::new(path), table),
        ["commit", path] => commit(Path::new(path)),
        ["write", path, writer, count] => {
            let number = writer.parse().expect("a writer has a number");
            let mut writer = oracle::Writer::open(Path::new(path), number);
            for _ in 0..count.parse().expect("a count is a number") {
                writer.write();
            }
        }
        _ => panic!("unknown arguments {arguments:?}"),
    }
}

fn visit(path: &Path, table: &str) {
    let connection = database::open(path);
    let rows: i64 = connection
        .query_row(&format!("SELECT COUNT(*) FROM {table}"), [], |row| {
            row.get(0)
        })
        .expect("count the rows");
    println!("{rows}");
}

fn commit(path: &Path) {
    let connection = database::open_without_checkpoints(path);
    connection
        .execute_batch("CREATE TABLE IF NOT EXISTS other (id INTEGER PRIMARY KEY)")
        .expect("make a table");
    println!("open");
    for line in stdin().lock().lines() {
        line.expect("read a line");
        connection
            .execute("INSERT INTO other DEFAULT VALUES", [])
            .expect("commit");
        println!("committed");
    }
}
