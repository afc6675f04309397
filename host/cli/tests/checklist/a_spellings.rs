//! A: how flags, commands and keys may be written.

use std::fs;

use crate::run_with;
use crate::support::{YML, fails, ok, quickstart, run};

#[test]
fn a1_flags_take_one_dash_or_two_and_a_space_or_an_equals_sign() {
    let dir = quickstart();
    for key in ["-age-key", "-agekey", "--age-key", "--agekey"] {
        for dbpath in ["-dbpath", "--dbpath"] {
            for end in [" ", "="] {
                let line =
                    format!("{key}{end}age_key.txt {dbpath}{end}app.db dump -scope{end}litestream");
                assert_eq!(ok(dir.path(), &line), YML, "{line}");
            }
        }
    }
}

#[test]
fn a1_variables_of_both_names_are_read_and_a_flag_beats_them() {
    let dir = quickstart();
    fs::rename(dir.path().join("age_key.txt"), dir.path().join("k")).expect("rename");
    for (key, db) in [
        ("LOCKKEEPER_AGE_KEY", "LOCKKEEPER_DB"),
        ("RIPC_AGE_KEY_PATH", "RIPC_DB"),
    ] {
        let good = [(key, "k"), (db, "app.db")];
        let output = run_with(dir.path(), &good, "dump -scope litestream");
        assert_eq!(String::from_utf8_lossy(&output.stdout), YML, "{key}");
        let bad = [(key, "none"), (db, "none")];
        let line = "-age-key k -dbpath app.db dump -scope litestream";
        let output = run_with(dir.path(), &bad, line);
        assert_eq!(String::from_utf8_lossy(&output.stdout), YML, "{key}");
    }
    let both = [
        ("LOCKKEEPER_AGE_KEY", "k"),
        ("RIPC_AGE_KEY_PATH", "none"),
        ("LOCKKEEPER_DB", "app.db"),
        ("RIPC_DB", "none"),
    ];
    let output = run_with(dir.path(), &both, "dump -scope litestream");
    assert_eq!(String::from_utf8_lossy(&output.stdout), YML);
}

#[test]
fn a2_every_command_of_the_configuration_works_with_config_before_it_and_without() {
    let dir = quickstart();
    for config in ["", "config "] {
        for line in [
            "save -scope litestream litestream.yml",
            "dump -scope litestream",
            "get -scope litestream dbs",
            "paths -scope litestream dbs",
            "list litestream",
            "scopes",
            "diff -scope litestream 1",
            "rollback -scope litestream 1",
            "set server.addr :80",
            "reseal -scope litestream",
        ] {
            ok(dir.path(), &format!("-dbpath app.db {config}{line}"));
        }
    }
}

#[test]
fn a3_a_key_in_the_current_folder_is_found_by_its_name() {
    let dir = quickstart();
    let line = "-dbpath app.db dump -scope litestream";
    assert_eq!(ok(dir.path(), line), YML);
    // age_key.txt goes before age.key.
    fs::write(dir.path().join("age.key"), "no key").expect("write");
    assert_eq!(ok(dir.path(), line), YML);
    fs::rename(dir.path().join("age_key.txt"), dir.path().join("age.key")).expect("rename");
    assert_eq!(ok(dir.path(), line), YML);
}

#[test]
fn a3_without_a_key_the_flag_the_variable_and_age_keygen_are_named() {
    let dir = quickstart();
    fs::remove_file(dir.path().join("age_key.txt")).expect("remove");
    for named in ["-age-key", "LOCKKEEPER_AGE_KEY", "age-keygen"] {
        fails(dir.path(), "-dbpath app.db dump", named);
    }
    for named in ["-dbpath", "LOCKKEEPER_DB"] {
        fails(dir.path(), "dump", named);
    }
}

#[test]
fn a4_data_goes_to_stdout_and_everything_else_to_stderr() {
    let dir = quickstart();
    for (line, out, err) in [
        (
            "save -scope litestream litestream.yml",
            "",
            "Successfully saved",
        ),
        ("dump -scope litestream", YML, ""),
        ("scopes", "application\nlitestream\n", ""),
        ("diff -scope litestream 1", "", "No differences"),
        ("rollback -scope litestream 1", "", "Rolled back"),
        ("set server.addr :80", "", "Set 'server.addr'"),
        ("get server.addr", "server.addr = \":80\"\n", ""),
        ("paths server.addr", "server.addr\n", ""),
        ("list none", "", "No configurations found"),
        ("reseal", "", "Sealed 2 generations"),
    ] {
        let output = run(dir.path(), &format!("-dbpath app.db {line}"));
        assert_eq!(output.status.code(), Some(0), "{line}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), out, "{line}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.starts_with(err), "{line}: {stderr}");
        assert_eq!(stderr.is_empty(), err.is_empty(), "{line}: {stderr}");
    }
}

#[test]
fn a4_every_mistake_exits_with_1() {
    let dir = quickstart();
    for (line, message) in [
        ("-dbpath app.db nonsense", "unrecognized subcommand"),
        ("-dbpath app.db dump -nonsense", "unexpected argument"),
        ("-dbpath none.db dump", "no database at none.db"),
        (
            "-dbpath app.db dump -scope x",
            "no configuration for scope 'x'",
        ),
        (
            "-dbpath app.db rollback 7",
            "no configuration for scope 'application' generation 7",
        ),
        ("-dbpath app.db rollback 0", "invalid generation 0"),
        (
            "-dbpath app.db set no.such 1",
            "there is no value 'no.such'",
        ),
        (
            "-dbpath app.db set -scope litestream dbs 1",
            "set changes toml, not 'yml'",
        ),
    ] {
        fails(dir.path(), line, message);
    }
    ok(dir.path(), "-h");
    ok(dir.path(), "");
}
