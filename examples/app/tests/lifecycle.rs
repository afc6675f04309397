//! Starting, stopping, and what is in the replica afterwards.

mod support;

use std::io::{Read, Write};

use rustix::process::Signal;
use support::{Folder, LATE};

#[track_caller]
fn flushes_and_exits_with_0(signal: Signal) {
    let folder = Folder::ready();
    let app = folder.start();
    app.sync();
    for n in 0..20 {
        app.sign(&n.to_string());
    }
    app.signal(signal);
    let (status, log) = app.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    let all: Vec<_> = (0..20).map(|n| n.to_string()).collect();
    assert_eq!(folder.restored(), all);
}

#[test]
fn b3b_sigint_flushes_what_was_just_committed_and_exits_with_0() {
    flushes_and_exits_with_0(Signal::INT);
}

#[test]
fn b3b_sigterm_flushes_what_was_just_committed_and_exits_with_0() {
    flushes_and_exits_with_0(Signal::TERM);
}

#[test]
fn b3b_sigquit_flushes_what_was_just_committed_and_exits_with_0() {
    flushes_and_exits_with_0(Signal::QUIT);
}

#[test]
fn a_second_start_goes_on_where_the_first_ended() {
    let folder = Folder::ready();
    for n in 1..=3 {
        let app = folder.start();
        assert_eq!(app.get("/").body.matches("<article>").count(), n - 1);
        app.sign(&n.to_string());
        app.signal(Signal::TERM);
        let (status, log) = app.ended();
        assert_eq!(status.code(), Some(0), "{log}");
    }
    assert_eq!(folder.restored(), ["1", "2", "3"]);
}

#[test]
fn a_request_that_was_begun_is_finished_before_the_end() {
    let folder = Folder::ready();
    let mut app = folder.start();
    let mut request = app.begin_signing();
    app.signal(Signal::TERM);
    app.wait_for("stopping");
    request.write_all(LATE.as_bytes()).unwrap();
    let mut answer = String::new();
    request.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 303"), "{answer}");
    let (status, log) = app.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains("left behind"), "{log}");
    assert_eq!(folder.restored(), ["late"]);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let folder = Folder::ready();
    let mut app = folder.start();
    // Keeps it from ending by itself.
    let _request = app.begin_signing();
    app.signal(Signal::TERM);
    app.wait_for("stopping");
    app.signal(Signal::INT);
    let (status, log) = app.ended();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("by a second signal (SIGINT)"), "{log}");
}

#[test]
fn a_configuration_that_leaves_the_application_out_is_pointed_at() {
    let folder = Folder::ready();
    let yml = support::LITESTREAM_YML.replace("app.db", "other.db");
    folder.save("litestream", &yml, "yml");
    let log = folder.start().log.join("\n");
    assert!(
        log.contains("not replicated") && log.contains("other.db"),
        "{log}"
    );
}

#[test]
fn b3b_a_replica_that_takes_nothing_is_reported_while_it_runs_and_at_the_end() {
    let folder = Folder::ready();
    folder.save(
        "application",
        "[server]\nshutdown_graceful_timeout = '2s'\n",
        "toml",
    );
    // A file where the replica needs a folder.
    std::fs::create_dir(folder.path("litestream-replicas")).unwrap();
    std::fs::write(folder.path("litestream-replicas/ltx"), "in the way").unwrap();
    let app = folder.start();
    app.sign("kept here");
    assert_eq!(app.post("/api/sync", &[]).status, 503);
    let health = app.get("/healthz").json();
    assert_eq!(health["status"], "degraded", "{health}");
    assert!(app.get("/").body.contains("The replica cannot be reached"));
    app.signal(Signal::TERM);
    let (status, log) = app.ended();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(
        log.contains("not durable") && log.contains("app.db"),
        "{log}"
    );
}

#[test]
fn b3b_sighup_moves_the_web_server_to_the_address_of_the_new_configuration() {
    let folder = Folder::ready();
    let mut app = folder.start_at_configured_address();
    app.sign("before");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    folder.save(
        "application",
        &format!("[server]\naddr = '{address}'\n"),
        "toml",
    );
    app.signal(Signal::HUP);
    app.wait_for("cannot reload the web server");
    app.sign("where it was");
    drop(taken);
    app.signal(Signal::HUP);
    app.moved();
    assert_eq!(app.url, format!("http://{address}"));
    app.sign("after");
    app.signal(Signal::TERM);
    let (status, log) = app.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(folder.restored().len(), 3);
}

#[test]
fn b3b_sighup_replicates_by_the_new_configuration_and_keeps_the_old_one_if_that_is_none() {
    let folder = Folder::ready();
    let mut app = folder.start();
    app.sign("one");
    folder.save("litestream", "dbs: [{path: app.db}]", "yml");
    app.signal(Signal::HUP);
    app.wait_for("the configuration before goes on");
    let health = app.get("/healthz").json();
    assert_eq!(health["status"], "degraded", "{health}");
    let problem = health["replication"]["problems"][0].as_str().unwrap();
    assert!(problem.contains("not in force"), "{problem}");
    let yml = support::LITESTREAM_YML.replace("litestream-replicas", "elsewhere");
    folder.save("litestream", &yml, "yml");
    app.signal(Signal::HUP);
    app.wait_for("the configuration was read again");
    assert_eq!(app.get("/healthz").json()["status"], "ok");
    app.sign("two");
    app.signal(Signal::TERM);
    let (status, log) = app.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(folder.restored(), ["one"]);
    assert_eq!(folder.restored_from("elsewhere"), ["one", "two"]);
}
