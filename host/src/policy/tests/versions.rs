//! Every version of the contract that has shipped still runs, and none changes without a number.

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::super::contract::Version;
use super::super::*;
use super::*;

/// The default component as it was when version 0.1.0 was the newest, in binary form.
const OLD: &[u8] = include_bytes!("data/policy-0.1.0.wasm");

/// What each version of the contract says, as [`fingerprint`] has it. An entry never changes: what
/// it stands for is built into components. Another contract gets another number.
const FINGERPRINTS: [(&str, &str); 2] = [
    (
        "0.1.0",
        "95eb73279bd86b9f7a6efcc5181d4d0f3fa52492286837394aaa168884579734",
    ),
    (
        "0.2.0",
        "98e1625b169291b6e4aeb44e1a0c8def32f7afbe390df4f9b9d387b023e25446",
    ),
];

/// The hash of a contract without what only people read.
fn fingerprint(text: &str) -> String {
    let code = text.lines().map(|line| line.split("//").next().unwrap());
    let words: Vec<&str> = code.flat_map(str::split_whitespace).collect();
    let hash = Sha256::digest(words.join(" "));
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn contract(version: &str) -> String {
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
    let path = if version == Version::NEWEST.number() {
        wit.join("policy.wit")
    } else {
        wit.join("frozen").join(version).join("policy.wit")
    };
    fs::read_to_string(path).unwrap()
}

#[test]
fn a_contract_does_not_change_without_a_new_version() {
    for (version, expected) in FINGERPRINTS {
        let text = contract(version);
        let package = format!("package lockkeeper:policy@{version};");
        assert!(text.contains(&package), "{package} is not in its contract");
        assert_eq!(fingerprint(&text), expected, "version {version}");
    }
}

#[test]
fn a_fingerprint_is_that_of_the_contract_and_not_of_its_comments() {
    let contract = "record a { // why\n    /// b\n    c: u8,\n}";
    assert_eq!(fingerprint(contract), fingerprint("record a { c: u8, }"));
    assert_ne!(fingerprint(contract), fingerprint("record a { c: u16, }"));
}

#[test]
fn every_version_is_frozen_but_the_newest_and_has_an_adapter() {
    let numbers = Version::ALL.map(Version::number);
    assert_eq!(numbers, FINGERPRINTS.map(|(number, _)| number));
    assert_eq!(numbers.last(), Some(&Version::NEWEST.number()));
    let frozen = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit/frozen");
    let names = fs::read_dir(frozen).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    names.sort_unstable();
    assert_eq!(names, numbers[..numbers.len() - 1]);
}

#[test]
fn a_component_of_the_first_version_still_decides() {
    let component = Component::load(&PolicySource::Bytes(OLD.to_vec())).unwrap();
    assert_eq!(component.contract(), "0.1.0");
    assert_eq!(component.name(), "lockkeeper-policy");
    let text = "dbs:\n  - path: app.db\n    replica: {type: file, path: /backup}\n";
    assert!(component.validate(text, &["file"]).unwrap().is_valid());
    assert!(
        !component
            .validate("dbs: 7\n", &["file"])
            .unwrap()
            .is_valid()
    );

    let policy = Policy::new(component);
    assert_eq!(policy.plan_sync(&sync_facts()), 700);
    let checkpoint = policy.plan_checkpoint(&checkpoint_facts());
    assert_eq!(checkpoint, CheckpointProposal::Passive);
    assert!(policy.plan_snapshot(&snapshot_facts()).is_some());
    assert!(policy.plan_verification(&verification_facts()).is_some());
    assert_eq!(
        policy.plan_compaction(&compaction_facts()).accepted.len(),
        1
    );
    let inventory = inventory();
    let review = Review::new(situation(&inventory)).unwrap();
    assert_eq!(policy.plan_retention(&review).files.len(), 1);
    let stats = policy.stats();
    assert_eq!((stats.calls, stats.failures, stats.clamps), (6, 0, 0));
}

#[test]
fn what_the_first_version_could_not_decide_the_built_in_rules_do() {
    let policy = Policy::new(Component::load(&PolicySource::Bytes(OLD.to_vec())).unwrap());
    let holds = policy.plan_holds(&HoldFacts::default()).unwrap();
    assert_eq!(holds, Holds::default());
    assert_eq!(policy.approve_restore(&RestoreFacts::default()), Ok(()));
    let event = Event {
        code: "lost".into(),
        begins: true,
        ..Event::default()
    };
    assert_eq!(alerts(&policy, &event), fallback::on_event(&event));
    assert_eq!(policy.stats().failures, 0);
}
