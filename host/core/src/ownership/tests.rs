use proptest::prelude::*;

use super::*;

fn writer(owner: u128, run: u128) -> Writer {
    Writer {
        owner: Token::new(owner),
        run: Token::new(run),
        database: "app.db".into(),
    }
}

fn marker(owner: u128, run: u128, epoch: u64, head: u64) -> Marker {
    Marker {
        format: FORMAT,
        owner: Token::new(owner),
        run: Token::new(run),
        epoch,
        database: "app.db".into(),
        head: Txid::new(head),
        updated_ms: 5,
    }
}

#[test]
fn a_marker_reads_as_it_was_written() {
    for head in [0, 1, u64::MAX] {
        let marker = marker(u128::MAX, 7, 3, head);
        let bytes = marker.encode().unwrap();
        assert_eq!(Marker::parse(&bytes).unwrap(), marker);
    }
}

#[test]
fn fields_of_later_versions_are_skipped_and_later_formats_are_refused() {
    let text = r#"{"format": 1, "owner": "00000000000000000000000000000001", "epoch": 2,
        "run": "00000000000000000000000000000002", "database": "a", "later": [1, {}]}"#;
    let marker = Marker::parse(text.as_bytes()).unwrap();
    assert_eq!((marker.epoch(), marker.head()), (2, None));
    let newer = br#"{"format": 2, "something": "else"}"#;
    let error = Marker::parse(newer).unwrap_err();
    assert!(matches!(error, MarkerError::Newer { format: 2 }), "{error}");
}

#[test]
fn a_head_or_an_owner_that_is_none_is_damage() {
    let good = String::from_utf8(marker(1, 2, 3, 4).encode().unwrap()).unwrap();
    let head = "0000000000000004";
    for bad in [
        good.replace(head, "4"),
        good.replace(head, "0000000000000000"),
        good.replace("00000000000000000000000000000001", "1"),
        good.replace("\"epoch\": 3", "\"epoch\": -3"),
        String::new(),
    ] {
        assert_ne!(bad, good);
        let error = Marker::parse(bad.as_bytes()).unwrap_err();
        assert!(matches!(error, MarkerError::Damaged(_)), "{bad}: {error}");
    }
}

#[test]
fn a_name_that_somebody_else_wrote_cannot_forge_a_line() {
    let mut marker = marker(1, 1, 1, 1);
    marker.database = format!("a\nERROR{}", "x".repeat(500));
    let shown = marker.database();
    assert!(
        !shown.contains('\n') && shown.chars().count() < 120,
        "{shown}"
    );
}

#[test]
fn a_replica_that_nobody_owns_is_claimed_in_the_first_epoch() {
    let (claim, marker) = claim(None, &writer(1, 1), 0, 9);
    assert_eq!((claim, marker.epoch, marker.head), (Claim::First, 1, None));
}

#[test]
fn a_new_run_of_the_owner_goes_on_in_its_epoch_and_another_writer_begins_the_next() {
    let found = marker(1, 1, 4, 8);
    let (kind, own) = claim(Some(&found), &writer(1, 2), 0, 9);
    assert_eq!((kind, own.epoch, own.head), (Claim::GoOn, 4, found.head));
    let (kind, other) = claim(Some(&found), &writer(2, 3), 0, 9);
    assert_eq!(
        (kind, other.epoch, other.head),
        (Claim::TakeOver, 5, found.head)
    );
}

#[test]
fn an_epoch_never_comes_twice_although_the_replica_was_put_back() {
    assert_eq!(claim(None, &writer(1, 1), 7, 9).1.epoch, 7);
    let old = marker(2, 2, 3, 8);
    assert_eq!(claim(Some(&old), &writer(1, 1), 7, 9).1.epoch, 8);
}

#[test]
fn whoever_finds_another_writer_is_fenced() {
    let me = writer(1, 1);
    let check = |found: Option<Marker>| verdict(found.as_ref(), &me, 4);
    assert_eq!(check(Some(marker(1, 1, 4, 8))), Verdict::Mine);
    assert_eq!(check(Some(marker(2, 2, 5, 8))), Verdict::Fenced);
    // Where writes have no conditions, two may claim one epoch.
    assert_eq!(check(Some(marker(2, 2, 4, 8))), Verdict::Fenced);
    // A copy of the state directory runs somewhere else.
    assert_eq!(check(Some(marker(1, 2, 4, 8))), Verdict::Fenced);
    assert_eq!(check(Some(marker(2, 2, 3, 8))), Verdict::PutBack);
    assert_eq!(check(None), Verdict::Unclaimed);
}

#[test]
fn a_head_goes_back_only_where_files_are_lost_for_good() {
    let txid = Txid::new;
    assert_eq!(next_head(txid(5), txid(6), false), txid(6));
    assert_eq!(next_head(txid(5), txid(3), false), txid(5));
    assert_eq!(next_head(txid(5), txid(3), true), txid(3));
    assert_eq!(next_head(None, txid(1), false), txid(1));
    assert_eq!(lost_head(txid(5), txid(4), txid(3)), txid(5));
    assert_eq!(lost_head(txid(5), txid(5), None), None);
    assert_eq!(lost_head(txid(5), None, txid(5)), None);
    assert_eq!(lost_head(None, None, None), None);
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Marker::parse(&bytes);
    }

    #[test]
    fn after_a_take_over_the_new_owner_is_never_fenced_and_the_old_one_always_is(
        old in 0_u128..4, new in 0_u128..4, runs in prop::array::uniform2(0_u128..1000), epoch in 1..9_u64,
    ) {
        prop_assume!(runs[0] != runs[1]);
        let found = marker(old, runs[0], epoch, 1);
        let newcomer = writer(new, runs[1]);
        let (_, claimed) = claim(Some(&found), &newcomer, 0, 9);
        prop_assert_eq!(verdict(Some(&claimed), &newcomer, claimed.epoch), Verdict::Mine);
        prop_assert_eq!(verdict(Some(&claimed), &writer(old, runs[0]), epoch), Verdict::Fenced);
    }
}
