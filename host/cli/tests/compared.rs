//! Where a replica could silently go wrong, this binary does what `docs/compared.md` says.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use lockkeeper_tests::compared::page::{self, cell, without_figures};
use lockkeeper_tests::compared::program::Name;
use lockkeeper_tests::compared::{HAZARDS, Program, Scale};

fn committed() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/compared.md");
    std::fs::read_to_string(path).unwrap()
}

/// Stages a hazard for both programs; the official one is left out where it is not installed.
#[track_caller]
fn check(promise: &str) {
    let hazard = HAZARDS.into_iter().find(|hazard| hazard.promise == promise);
    let hazard = hazard.unwrap();
    let page = committed();
    let ours = Program::lockkeeper(Path::new(env!("CARGO_BIN_EXE_lockkeeper")));
    for program in [Some(ours), Program::litestream()].into_iter().flatten() {
        let found = hazard.observe(&program, Scale::Quick);
        println!("{program}: {}", found.words);
        let said = cell(&page, hazard, program.name());
        assert_eq!(said, Some(without_figures(&found.words)), "{program}");
        assert!(found.holds || program.name() == Name::Litestream);
    }
}

#[test]
fn an_idle_database_is_not_read() {
    check("An idle database is not read");
}

#[test]
fn a_smaller_database_in_the_place_of_the_old_one_is_replicated() {
    check("A smaller database in the place of the old one is replicated");
}

#[test]
fn a_larger_database_in_the_place_of_the_old_one_is_replicated() {
    check("A larger database in the place of the old one is replicated");
}

#[test]
fn who_says_that_it_replicates_does() {
    check("Who says that it replicates does");
}

#[test]
fn replication_recovers_from_a_damaged_local_file() {
    check("Replication recovers from a damaged local file");
}

#[test]
fn a_file_that_the_replica_lost_stops_no_restore() {
    check("A file that the replica lost, and whose local copy exists, stops no restore");
}

#[test]
fn a_restore_beside_a_log_of_the_lost_database_gives_what_the_replica_holds() {
    check("A restore beside a log of the lost database gives what the replica holds");
}

#[test]
fn a_copy_that_follows_goes_on_after_a_stop() {
    check("A copy that follows goes on after a stop");
}

#[test]
fn one_row_that_was_written_while_down_costs_no_full_copy() {
    check("One row that was written while replication was down costs no full copy");
}

#[test]
fn a_restore_of_one_file_lists_no_level_twice() {
    check("A restore of one file lists no level twice");
}

#[test]
fn the_rest_of_the_page_is_what_the_program_writes() {
    assert_eq!(page::frame(&committed()), page::frame(&page::write(&[])));
    for hazard in HAZARDS {
        for program in [Name::Litestream, Name::Lockkeeper] {
            assert!(
                cell(&committed(), hazard, program).is_some(),
                "{}",
                hazard.promise
            );
        }
    }
}
