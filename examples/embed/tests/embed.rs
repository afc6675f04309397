//! The example, as a user runs it.

use std::process::Command;

#[test]
fn it_says_that_its_transaction_is_in_the_replica() {
    let output = Command::new(env!("CARGO_BIN_EXE_embed")).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        stdout.contains("app.db: every transaction up to "),
        "{stdout}"
    );
    assert!(stdout.contains("/backup"), "{stdout}");
}
