//! What is said on stderr when the application cannot start.

mod support;

use std::net::TcpListener;

use lockkeeper::config::KeyFile;
use support::{FLAGS, Folder, LITESTREAM_YML};

#[track_caller]
fn says(stderr: &str, part: &str) {
    assert!(stderr.contains(part), "no {part:?} in: {stderr}");
}

#[test]
fn b3_a_missing_flag_is_named_together_with_the_usage() {
    let folder = Folder::ready();
    for (flags, missing) in [
        ("", "-age-key is required"),
        ("-dbpath app.db", "-age-key is required"),
        ("-age-key age_key.txt", "-dbpath is required"),
        ("-nonsense", "unexpected argument"),
    ] {
        let stderr = folder.fails(flags);
        says(&stderr, missing);
        says(&stderr, "Usage: myapp -age-key FILE -dbpath FILE");
    }
}

#[test]
fn b3_a_database_without_a_litestream_scope_is_refused_with_the_command_that_saves_one() {
    let stderr = Folder::without_litestream().fails(FLAGS);
    says(
        &stderr,
        "Error: no configuration for scope 'litestream' in app.db",
    );
    says(
        &stderr,
        "lockkeeper -age-key age_key.txt -dbpath app.db config save -scope litestream",
    );
}

#[test]
fn b3d_a_port_that_is_taken_is_told_before_anything_is_replicated() {
    let folder = Folder::ready();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let flags = format!("-age-key age_key.txt -dbpath app.db -addr {address}");
    says(
        &folder.fails(&flags),
        &format!("Error: cannot listen on {address}: address already in use"),
    );
    assert!(!folder.path("litestream-replicas").exists());
}

#[test]
fn the_address_of_the_configuration_is_used_when_no_flag_is_given() {
    let folder = Folder::ready();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    folder.save(
        "application",
        &format!("[server]\naddr = '{address}'\n"),
        "toml",
    );
    says(
        &folder.fails("-age-key age_key.txt -dbpath app.db"),
        &format!("cannot listen on {address}"),
    );
}

#[test]
fn d1_an_invalid_configuration_is_refused_with_every_problem() {
    let folder = Folder::ready();
    let yml = "dbs:\n  - path: $HOME/app.db\n    replica:\n      type: carrier-pigeon\n";
    folder.save("litestream", yml, "yml");
    let stderr = folder.fails(FLAGS);
    says(&stderr, "2:11: error");
    says(&stderr, "$HOME");
    says(&stderr, "carrier-pigeon");
    folder.save(
        "litestream",
        &format!("{LITESTREAM_YML}# or ${{BUCKET}}\n"),
        "yml",
    );
    let stderr = folder.fails(FLAGS);
    says(&stderr, "7:6: error");
    says(&stderr, "${BUCKET}");
    folder.save("litestream", "dbs = []", "toml");
    says(
        &folder.fails(FLAGS),
        "expected 'yaml' or 'yml', found 'toml'",
    );
}

#[test]
fn a_key_that_does_not_fit_and_a_database_that_is_not_there_are_named() {
    let folder = Folder::ready();
    KeyFile::generate().write(folder.path("other.txt")).unwrap();
    let other = "-age-key other.txt -dbpath app.db -addr 127.0.0.1:0";
    says(&folder.fails(other), "none of the identities in other.txt");
    let missing = "-age-key age_key.txt -dbpath none.db -addr 127.0.0.1:0";
    says(&folder.fails(missing), "no database at none.db");
    assert!(!folder.path("none.db").exists());
}
