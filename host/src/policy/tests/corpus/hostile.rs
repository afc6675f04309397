//! Components that match the contract by name and mean harm, or are broken.

use super::super::hostile::all_decisions;
use super::Guest;

/// An answer that is a list of `count` records at 0x20000, where everything is zero.
fn zeroes(count: u32) -> String {
    format!(
        "(i32.store (i32.const 400) (i32.const 0x20000))
        (i32.store (i32.const 404) (i32.const {count}))
        (i32.const 400)"
    )
}

/// An answer that is `some` text of so many bytes at an address.
fn text(at: u32, len: u32) -> String {
    format!(
        "(drop (memory.grow (i32.const 400)))
        (i32.store (i32.const 300) (i32.const 1))
        (i32.store (i32.const 304) (i32.const {at}))
        (i32.store (i32.const 308) (i32.const {len}))
        (i32.const 300)"
    )
}

/// Does `body` so many times.
fn repeat(times: u32, body: &str) -> String {
    format!(
        "(local $i i32)
        (loop
            {body}
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if 0 (i32.lt_u (local.get $i) (i32.const {times}))))"
    )
}

const LOG: &str = r#"(import "$root" "log" (func $log (param i32 i32 i32)))"#;
const STDERR: &str = r#"(import "wasi:cli/stderr@0.2.0" "get-stderr" (func $stderr (result i32)))
    (import "wasi:io/streams@0.2.0" "[method]output-stream.blocking-write-and-flush"
        (func $write (param i32 i32 i32 i32)))"#;
const EXIT: &str = r#"(import "wasi:cli/exit@0.2.0" "exit" (func $exit (param i32)))"#;
const CLOCK: &str = r#"(import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration"
    (func $wait (param i64) (result i32)))"#;
const RANDOM: &str = r#"(import "wasi:random/random@0.2.0" "get-random-bytes"
    (func $random (param i64 i32)))"#;

fn decisions(body: &str) -> Guest {
    all_decisions(body)
}

pub(super) fn all() -> Vec<(&'static str, Guest)> {
    let mut all = endless();
    all.extend(traps());
    all.extend(answers());
    all.extend(greedy());
    all.extend(outside());
    all.extend(at_start());
    all
}

/// Time, stack and memory without end.
fn endless() -> Vec<(&'static str, Guest)> {
    let mutual = "(func $a (call $b) (call $a)) (func $b (call $a) (call $b))";
    let table = "(loop (br_if 0 (i32.ne (table.grow $t (ref.null func) (i32.const 1000))
        (i32.const -1)))) (unreachable)";
    let memory = "(loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
        (unreachable)";
    let touch = "(drop (memory.grow (i32.const 400)))
        (loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 20000000)) (br 0)) (unreachable)";
    vec![
        ("endless loop", decisions("(loop (br 0)) (unreachable)")),
        (
            "endless loop that calls",
            decisions("(loop (call $f) (br 0)) (unreachable)").item("(func $f)"),
        ),
        (
            "endless recursion",
            decisions("(call $f) (unreachable)").item("(func $f (call $f) (call $f))"),
        ),
        (
            "endless recursion of two",
            decisions("(call $a) (unreachable)").item(mutual),
        ),
        ("memory without end", decisions(memory)),
        (
            "table without end",
            decisions(table).item("(table $t 1 funcref)"),
        ),
        ("memory filled again and again", decisions(touch)),
        (
            "slow by a hair",
            decisions(&format!("{} (unreachable)", repeat(20_000_000, ""))),
        ),
    ]
}

fn traps() -> Vec<(&'static str, Guest)> {
    let types = "(type $t (func (param f64))) (table 1 funcref) (elem (i32.const 0) $f) (func $f)";
    vec![
        ("unreachable", decisions("(unreachable)")),
        (
            "division by zero",
            decisions("(drop (i32.div_u (i32.const 1) (i32.const 0))) (unreachable)"),
        ),
        (
            "number that does not fit",
            decisions("(drop (i32.trunc_f64_s (f64.const nan))) (unreachable)"),
        ),
        (
            "read outside of memory",
            decisions("(drop (i32.load (i32.const -8))) (unreachable)"),
        ),
        (
            "write outside of memory",
            decisions("(i64.store (i32.const -4) (i64.const 1)) (unreachable)"),
        ),
        (
            "call of nothing",
            decisions("(call_indirect (i32.const 0)) (unreachable)").item("(table 1 funcref)"),
        ),
        (
            "call of another type",
            decisions("(call_indirect (type $t) (f64.const 0) (i32.const 0)) (unreachable)")
                .item(types),
        ),
        (
            "trap now and then",
            decisions("(unreachable)").export(
                "plan-sync",
                "(if (i64.eqz (i64.rem_u (local.get 0) (i64.const 3))) (then (unreachable)))
                (i64.const 5)",
            ),
        ),
    ]
}

/// Answers that are none.
fn answers() -> Vec<(&'static str, Guest)> {
    let snapshot = |body: &str| Guest::default().export("plan-snapshot", body);
    let huge = "(drop (memory.grow (i32.const 400)))";
    vec![
        (
            "answer outside of memory",
            decisions_that_answer("(i32.const -64)"),
        ),
        (
            "answer at an odd place",
            decisions_that_answer("(i32.const 301)"),
        ),
        ("text outside of memory", snapshot(&text(0x7fff_0000, 9))),
        ("text of many megabytes", snapshot(&text(0, 20_000_000))),
        ("text longer than memory", snapshot(&text(8, u32::MAX))),
        (
            "text that is none",
            snapshot(&text(512, 4)).item(r#"(data (i32.const 512) "\ff\fe\c0\80")"#),
        ),
        (
            "text that moves the cursor",
            snapshot(&text(512, 9)).item(r#"(data (i32.const 512) "\1b[2J\0a\0d\e2\80\ae")"#),
        ),
        (
            "maybe that is neither",
            snapshot("(i32.store (i32.const 300) (i32.const 7)) (i32.const 300)"),
        ),
        (
            "mode that does not exist",
            Guest::default().export("plan-checkpoint", "(i32.const 77)"),
        ),
        (
            "a hundred thousand merges",
            Guest::default().export("plan-compaction", &format!("{huge}{}", zeroes(100_000))),
        ),
        (
            "a hundred thousand keeps",
            Guest::default().export("plan-retention", &format!("{huge}{}", zeroes(100_000))),
        ),
        (
            "a list longer than memory",
            Guest::default().export("plan-retention", &zeroes(u32::MAX)),
        ),
        (
            "keeps that share one long text",
            Guest::default().export("plan-retention", &shared_text(1000)),
        ),
        (
            "argument at no place",
            Guest::default().realloc("(i32.const -8)"),
        ),
        (
            "argument that traps",
            Guest::default().realloc("(unreachable)"),
        ),
        (
            "argument without end",
            Guest::default().realloc("(loop (br 0)) (unreachable)"),
        ),
    ]
}

/// `count` keeps whose reasons are the same 64 KiB.
fn shared_text(count: u32) -> String {
    format!(
        "{} {}",
        repeat(
            count,
            "(i32.store offset=0x20018 (i32.mul (local.get $i) (i32.const 32)) (i32.const 0))
            (i32.store offset=0x2001c (i32.mul (local.get $i) (i32.const 32)) (i32.const 65536))"
        ),
        zeroes(count)
    )
}

/// Only the decisions whose answers lie in memory.
fn decisions_that_answer(body: &str) -> Guest {
    let in_memory = [
        "plan-snapshot",
        "plan-verification",
        "plan-compaction",
        "plan-retention",
        "plan-holds",
        "approve-restore",
        "on-event",
    ];
    let guest = Guest::default();
    in_memory
        .into_iter()
        .fold(guest, |guest, name| guest.export(name, body))
}

/// Answers of the right form that want too much, too little, or both.
fn greedy() -> Vec<(&'static str, Guest)> {
    let sync = |body: &str| Guest::default().export("plan-sync", body);
    let some = text(64, 4);
    let by_time = |yes: &str, no: &str, ty: &str| {
        format!(
            "(if (result {ty}) (i32.wrap_i64 (i64.and (local.get 0) (i64.const 16)))
                (then {yes}) (else {no}))"
        )
    };
    let refuse = r#"(data (i32.const 420) "\01\00\00\00\40\00\00\00\04\00\00\00")"#;
    vec![
        (
            "keep nothing, hold nothing",
            Guest::default().item("(func)"),
        ),
        ("never seal", sync("(i64.const -1)")),
        (
            "seal at once",
            sync("(i64.const 0)").item("(global i32 (i32.const 1))"),
        ),
        ("ask again in a millisecond", sync("(i64.const 1)")),
        (
            "now at once, now never",
            sync(&by_time("(i64.const 0)", "(i64.const -1)", "i64")),
        ),
        (
            "truncate all the time",
            Guest::default().export("plan-checkpoint", "(i32.const 2)"),
        ),
        (
            "now truncate, now nothing",
            Guest::default().export(
                "plan-checkpoint",
                &by_time("(i32.const 2)", "(i32.const 0)", "i32"),
            ),
        ),
        (
            "snapshots and proofs all the time",
            Guest::default()
                .export("plan-snapshot", &some)
                .export("plan-verification", &some),
        ),
        (
            "merges of level 0 into itself",
            Guest::default().export("plan-compaction", &zeroes(40)),
        ),
        (
            "a thousand alerts",
            Guest::default().export("on-event", &zeroes(1000)),
        ),
        (
            "a thousand and one holds",
            Guest::default().export("plan-holds", &zeroes(1001)),
        ),
        (
            "refuse every restore",
            Guest::default()
                .item(refuse)
                .export("approve-restore", "(i32.const 420)"),
        ),
    ]
}

/// What is asked of the host.
fn outside() -> Vec<(&'static str, Guest)> {
    let log = |body: &str| {
        let body = format!("{body} (i64.const 1)");
        Guest::default().item(LOG).export("plan-sync", &body)
    };
    let line = "(call $log (i32.const 0) (i32.const 512) (i32.const 10))";
    let print = "(call $write (call $stderr) (i32.const 512) (i32.const 4000) (i32.const 600))";
    let bytes = "(call $random (i64.const 1000000000000) (i32.const 600)) (unreachable)";
    vec![
        (
            "a flood of log lines",
            log(&repeat(10_000, line)).item(r#"(data (i32.const 512) "a\nERROR \1bb")"#),
        ),
        (
            "a log line of megabytes",
            log("(drop (memory.grow (i32.const 400)))
                (call $log (i32.const 0) (i32.const 0) (i32.const 20000000))"),
        ),
        (
            "a log line that is no text",
            log(line).item(r#"(data (i32.const 512) "\ff\ff\ff\ff")"#),
        ),
        (
            "a log line of no severity",
            log("(call $log (i32.const 9) (i32.const 512) (i32.const 1))"),
        ),
        (
            "a flood of output",
            decisions(&format!("{} (unreachable)", repeat(1000, print))).item(STDERR),
        ),
        (
            "handles without end",
            decisions("(loop (drop (call $stderr)) (br 0)) (unreachable)").item(STDERR),
        ),
        (
            "a handle that is none",
            decisions(
                "(call $write (i32.const 7) (i32.const 0) (i32.const 1) (i32.const 600))
                (unreachable)",
            )
            .item(STDERR),
        ),
        (
            "exit",
            decisions("(call $exit (i32.const 0)) (unreachable)").item(EXIT),
        ),
        (
            "exit in anger",
            decisions("(call $exit (i32.const 1)) (unreachable)").item(EXIT),
        ),
        (
            "wait for a clock",
            decisions("(drop (call $wait (i64.const -1))) (unreachable)").item(CLOCK),
        ),
        ("randomness by the gigabyte", decisions(bytes).item(RANDOM)),
    ]
}

/// What happens before anything is asked.
fn at_start() -> Vec<(&'static str, Guest)> {
    let start = |body: &str| Guest::default().item(&format!("(func $s {body}) (start $s)"));
    let metadata = |body: &str| Guest::default().export("metadata", body);
    vec![
        ("start that never ends", start("(loop (br 0))")),
        ("start that traps", start("(unreachable)")),
        (
            "more memory than there is",
            Guest::default().item("(memory $more 513)"),
        ),
        (
            "more table than there is",
            Guest::default().item("(table 20001 funcref)"),
        ),
        (
            "data outside of memory",
            Guest::default().item(r#"(data (i32.const -1) "abc")"#),
        ),
        (
            "no answer to who it is",
            metadata("(loop (br 0)) (unreachable)"),
        ),
        ("a trap as its name", metadata("(unreachable)")),
        (
            "a name that is no text",
            Guest::default().item(r#"(data (i32.const 64) "\ff\ff")"#),
        ),
        (
            "a name of a megabyte",
            metadata("(i32.store (i32.const 20) (i32.const 1000000)) (i32.const 16)"),
        ),
        (
            "a million needs",
            metadata(
                "(i32.store (i32.const 40) (i32.const 0x20000))
                (i32.store (i32.const 44) (i32.const 1000000)) (i32.const 16)",
            ),
        ),
    ]
}
