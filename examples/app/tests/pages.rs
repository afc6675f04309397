//! What the running application answers.

mod support;

use support::{EVENTS, Folder, Running};

#[track_caller]
fn position(page: &str, text: &str) -> usize {
    page.find(text)
        .unwrap_or_else(|| panic!("{text} is not on the page: {page}"))
}

fn started() -> (Folder, Running) {
    let folder = Folder::ready();
    let app = folder.start();
    (folder, app)
}

#[test]
fn a_signed_message_is_on_the_page_with_the_newest_first() {
    let (_folder, app) = started();
    assert!(app.get("/").body.contains("Nobody has written yet"));
    let answer = app.post("/entries", &[("name", "Ada"), ("message", "first")]);
    assert_eq!(
        (answer.status, answer.location.as_str()),
        (303, "/#message-1")
    );
    app.sign("second");
    let page = app.get("/");
    assert_eq!(page.status, 200);
    assert!(position(&page.body, "second") < position(&page.body, "first"));
}

#[test]
fn markup_in_a_message_is_text_on_the_page() {
    let (_folder, app) = started();
    let form = [
        ("name", "<b>Eve</b>"),
        ("message", "\"&<script>alert(1)</script>"),
    ];
    assert_eq!(app.post("/entries", &form).status, 303);
    let page = app.get("/").body;
    assert!(!page.contains("<script") && !page.contains("<b>"), "{page}");
    position(&page, "&#60;b&#62;Eve&#60;/b&#62;");
    position(&page, "&#34;&#38;&#60;script&#62;alert(1)&#60;/script&#62;");
}

#[test]
fn a_refused_message_comes_back_in_the_form_with_what_is_wrong() {
    let (_folder, app) = started();
    let answer = app.post(
        "/entries",
        &[("name", " "), ("message", "a \"kept\" message")],
    );
    assert_eq!(answer.status, 422);
    position(&answer.body, "Please write your name.");
    position(&answer.body, "a &#34;kept&#34; message</textarea>");
    assert!(app.get("/").body.contains("Nobody has written yet"));
}

#[test]
fn every_listed_endpoint_answers() {
    let (_folder, app) = started();
    let list = app.get("/api/list-endpoints").json();
    assert_eq!(list["status"], 200);
    assert!(list["code"].is_string() && list["message"].is_string());
    let endpoints = list["data"]["endpoints"].as_object().unwrap();
    assert_eq!(endpoints["list_endpoints"], "GET /api/list-endpoints");
    for (name, endpoint) in endpoints {
        if endpoint == &format!("GET {EVENTS}") {
            // It has no end.
            assert!(app.listen().expect("an answer").next().is_some());
            continue;
        }
        let answer = match endpoint.as_str().unwrap().split_once(' ').unwrap() {
            ("GET", path) => app.get(path),
            ("POST", path) => app.post(path, &[("name", "Ada"), ("message", "hello")]),
            other => panic!("{other:?}"),
        };
        assert!(matches!(answer.status, 200 | 303), "{name}: {answer:?}");
    }
}

#[test]
fn f1_the_settings_that_replication_counts_on_are_in_effect() {
    let (_folder, app) = started();
    let health = app.get("/healthz").json();
    let wanted = serde_json::json!({
        "journal_mode": "wal", "wal_autocheckpoint": 0, "synchronous": 1, "busy_timeout": 5000,
    });
    assert_eq!(health["sqlite"]["pragmas"], wanted);
}

#[test]
fn health_tells_how_far_the_replica_is() {
    let (folder, app) = started();
    app.sign("hello");
    app.sync();
    let health = app.get("/healthz").json();
    assert_eq!(health["status"], "ok");
    let database = &health["replication"]["databases"][0];
    assert_eq!(database["state"], "replicating");
    assert!(database["durable"].as_u64().unwrap() > 0);
    assert_eq!(database["durable"], database["spooled"]);
    assert_eq!(folder.restored(), ["hello"]);
}
