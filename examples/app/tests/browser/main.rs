//! The page on the replication, as a person sees it who leaves it open.
#![expect(clippy::expect_used, reason = "a test stops at the first surprise")]

mod driver;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use driver::{Browser, POLL};
use serde_json::{Value, json};
use support::{Folder, LITESTREAM_YML, PATIENCE, Running};

/// What a phone of the smaller kind shows.
const PHONE: (u32, u32) = (360, 800);
const DESKTOP: (u32, u32) = (1280, 900);

/// What is wrong with how a page is built, as a list of sentences.
const STRUCTURE: &str = include_str!("structure.js");
/// Texts that stand out too little from what is behind them, as a list of sentences.
const CONTRAST: &str = include_str!("contrast.js");

/// The application with a message that is durable, and its page in a browser. Nothing is sent
/// before it is asked for.
fn opened() -> Option<(Folder, Running, Browser)> {
    opened_with(LITESTREAM_YML)
}

/// The same by another configuration.
fn opened_with(yml: &str) -> Option<(Folder, Running, Browser)> {
    let browser = Browser::start()?;
    let folder = Folder::ready();
    folder.save("litestream", yml, "yml");
    let app = folder.start();
    app.sign("hello");
    app.sync();
    // A snapshot would send along what the test wants to see waiting.
    once(&app, |database| database["snapshot"].is_string());
    browser.resize(DESKTOP.0, DESKTOP.1);
    browser.open(&format!("{}/replication", app.url));
    browser.wait_for("#live", |text| text == "It keeps itself up to date.");
    Some((folder, app, browser))
}

fn database(app: &Running) -> Value {
    let document = app.get("/api/replication").json();
    document["data"]["replication"]["databases"][0].clone()
}

/// Waits until what is said of the database is so.
#[track_caller]
fn once(app: &Running, is_so: impl Fn(&Value) -> bool) {
    let began = Instant::now();
    while !is_so(&database(app)) {
        assert!(began.elapsed() < PATIENCE, "{:#}", database(app));
        std::thread::sleep(POLL);
    }
}

#[track_caller]
fn durable(app: &Running) -> String {
    let txid = database(app)["durable"].clone();
    txid.as_str().expect("a number").to_owned()
}

#[track_caller]
fn is_empty(found: &Value) {
    assert_eq!(*found, json!([]), "{found:#}");
}

/// A file where the replica has its folder, until it is taken away again.
struct Obstacle {
    replica: PathBuf,
    aside: PathBuf,
}

impl Obstacle {
    fn put(replica: PathBuf) -> Self {
        let aside = replica.with_file_name("aside");
        fs::rename(&replica, &aside).expect("moved");
        fs::write(&replica, "in the way").expect("written");
        Self { replica, aside }
    }

    fn take_away(self) {
        fs::remove_file(&self.replica).expect("removed");
        fs::rename(&self.aside, &self.replica).expect("moved back");
    }
}

#[test]
fn the_page_follows_the_replication_without_being_loaded_again() {
    let Some((_folder, app, browser)) = opened() else {
        return;
    };
    browser.ask("window.wasHere = true");
    let before = durable(&app);
    assert_eq!(browser.text("#db0-numbers .txid"), before);
    // It waits for an hour, or for a sync.
    app.sign("waits");
    browser.wait_for("#db0-numbers .lag strong", |text| text != "0 ms");
    browser.wait_for("#db0-numbers .lag .note", |text| {
        text != "every commit is durable"
    });
    browser.wait_for("#db0-chart desc", |text| {
        text.starts_with("The highest was ")
    });
    // The curve leaves the ground, which is at 100.
    let rises = "return document.querySelector('#db0-chart .line').getAttribute('d')
        .match(/ [0-9.]+/g).some(height => Number(height) < 100)";
    assert_eq!(browser.ask(rises), json!(true));
    assert_eq!(browser.text("#db0-numbers .durable .txid"), before);
    app.sync();
    let after = durable(&app);
    assert_ne!(after, before);
    browser.wait_for("#db0-numbers .durable .txid", |text| text == after);
    browser.wait_for("#db0-numbers .lag strong", |text| text == "0 ms");
    let loads = "return performance.getEntriesByType('navigation').length";
    assert_eq!(browser.ask(loads), json!(1));
    assert_eq!(browser.ask("return window.wasHere"), json!(true));
    assert_eq!(browser.complaints(), [""; 0]);
    browser.picture("replication-desktop");
}

#[test]
fn a_replica_that_fails_is_told_in_words_and_so_is_its_end() {
    let Some((folder, app, browser)) = opened() else {
        return;
    };
    assert!(browser.text("#db0-state").contains("Replicating"));
    assert!(browser.text("#overall").contains("All is well"));
    let obstacle = Obstacle::put(folder.path("litestream-replicas"));
    app.sign("stays here for now");
    assert_eq!(app.post("/api/sync", &[]).status, 503);
    let state = browser.wait_for("#db0-state", |text| text.contains("Replica failing"));
    let why = database(&app)["error"].clone();
    let why = why.as_str().expect("a reason");
    assert!(why.contains("litestream-replicas"), "{why}");
    assert!(state.contains(why), "{state}");
    // What is sealed is not what is durable.
    assert_ne!(database(&app)["spooled"], database(&app)["durable"]);
    assert_eq!(browser.text("#db0-numbers .durable .txid"), durable(&app));
    browser.wait_for("#overall", |text| text.contains("needs attention"));
    browser.wait_for("#problems li", |text| text.contains(why));
    browser.prefer("dark");
    browser.picture("replication-failing-dark");
    obstacle.take_away();
    browser.wait_for("#db0-state", |text| text.contains("Replicating"));
    browser.wait_for("#overall", |text| text.contains("All is well"));
    let attention = "return document.querySelector('.problems') === null";
    assert_eq!(browser.ask(attention), json!(true));
}

#[test]
fn a_phone_shows_all_of_it_without_scrolling_sideways() {
    // Nowhere to break a line.
    let replica = "w".repeat(80);
    let yml = LITESTREAM_YML.replace("litestream-replicas", &replica);
    let Some((folder, app, browser)) = opened_with(&yml) else {
        return;
    };
    browser.resize(PHONE.0, PHONE.1);
    browser.ask("for (const it of document.querySelectorAll('details')) it.open = true");
    browser.picture("replication-phone");
    fits(&browser);
    let _obstacle = Obstacle::put(folder.path(&replica));
    app.sign("stays here for now");
    assert_eq!(app.post("/api/sync", &[]).status, 503);
    browser.wait_for("#db0-state", |text| text.contains("Replica failing"));
    browser.wait_for("#problems li", |text| !text.is_empty());
    browser.picture("replication-failing-phone");
    fits(&browser);
}

/// Nothing is wider than the phone, nor hidden at its side.
#[track_caller]
fn fits(browser: &Browser) {
    browser.resize(PHONE.0, PHONE.1);
    let width = browser.ask("return [window.innerWidth, document.documentElement.scrollWidth]");
    assert_eq!(width, json!([PHONE.0, PHONE.0]));
    is_empty(&browser.ask(
        "return [...document.querySelectorAll('body *')]
            .filter(it => !it.matches('.unseen, svg *'))
            .filter(it => it.getBoundingClientRect().right > 360.5)
            .map(it => it.outerHTML.slice(0, 200))",
    ));
}

#[test]
fn everything_on_the_page_has_a_name_and_its_place() {
    let Some((folder, app, browser)) = opened() else {
        return;
    };
    let _obstacle = Obstacle::put(folder.path("litestream-replicas"));
    app.sign("stays here for now");
    assert_eq!(app.post("/api/sync", &[]).status, 503);
    browser.wait_for("#problems li", |text| !text.is_empty());
    browser.ask("for (const it of document.querySelectorAll('details')) it.open = true");
    is_empty(&browser.ask(STRUCTURE));
    for scheme in ["light", "dark"] {
        browser.prefer(scheme);
        is_empty(&browser.ask(CONTRAST));
    }
    let tree = browser.tools("Accessibility.getFullAXTree", &json!({}));
    let nodes = tree["nodes"].as_array().expect("nodes");
    let mut seen = Vec::new();
    for node in nodes.iter().filter(|node| node["ignored"] == false) {
        let role = node["role"]["value"].as_str().expect("a role");
        let name = node["name"]["value"].as_str().unwrap_or_default();
        if NAMED.contains(&role) {
            assert!(!name.trim().is_empty(), "{role} has no name: {node:#}");
            seen.push(role);
        }
    }
    for role in NAMED {
        assert!(seen.contains(&role), "there is no {role}: {seen:?}");
    }
}

/// Roles that say nothing without a name. The page has each of them.
const NAMED: [&str; 8] = [
    "RootWebArea",
    "heading",
    "link",
    "image",
    "article",
    "region",
    "DisclosureTriangle",
    "columnheader",
];

#[test]
fn nothing_is_asked_of_anybody_else() {
    let Some((_folder, app, browser)) = opened() else {
        return;
    };
    // As many as there are for sure; the stream of events is listed when it ends.
    let asked = browser.ask("return performance.getEntriesByType('resource').map(it => it.name)");
    let asked = asked.as_array().expect("a list");
    for file in ["/style.css", "/replication.css", "/replication.js"] {
        assert!(
            asked.contains(&json!(format!("{}{file}", app.url))),
            "{asked:?}"
        );
    }
    for url in asked {
        let url = url.as_str().expect("a URL");
        assert!(url.starts_with(&format!("{}/", app.url)), "{url}");
    }
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn without_a_script_the_page_has_the_same_numbers() {
    let yml = format!("{LITESTREAM_YML}validation: {{interval: 1s}}\n");
    let Some((_folder, app, browser)) = opened_with(&yml) else {
        return;
    };
    // Then nothing changes any more but the time.
    browser.wait_for("#db0-numbers .verified strong", |text| text != "none yet");
    let numbers = [
        "durable strong",
        "verified strong",
        "window strong",
        "window .note",
    ];
    let read = || numbers.map(|at| browser.text(&format!("#db0-numbers .{at}")));
    let with = read();
    browser.tools(
        "Emulation.setScriptExecutionDisabled",
        &json!({ "value": true }),
    );
    browser.open(&format!("{}/replication", app.url));
    assert_eq!(browser.text("#live"), "Reload the page for what is new.");
    assert_eq!(read(), with);
    assert!(
        with[0].ends_with(durable(&app).trim_start_matches('0')),
        "{with:?}"
    );
}
