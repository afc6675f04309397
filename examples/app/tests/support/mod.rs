//! Runs the application in a folder of its own and talks to it.
#![expect(clippy::expect_used, reason = "a test stops at the first surprise")]
#![allow(dead_code, reason = "each test file uses some of it")]

use std::fs::File;
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use lockkeeper::config::{ConfigStore, Identities, KeyFile, KeyFileCheck};
use lockkeeper::restore::{RestoreOptions, restore};
use lockkeeper::store::Replica;
use rusqlite::Connection;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use ureq::BodyReader;

/// The configuration of the README, which sends by itself only after an hour.
pub(crate) const LITESTREAM_YML: &str = "\
dbs:
  - path: ./app.db
    replicas:
      - type: file
        path: ./litestream-replicas
        sync-interval: 1h
";
/// The application.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_myapp");
pub(crate) const FLAGS: &str = "-age-key age_key.txt -dbpath app.db -addr 127.0.0.1:0";

pub(crate) const EVENTS: &str = "/api/replication/events";

/// The body of a request that takes its time.
pub(crate) const LATE: &str = "name=Ada&message=late";

const LISTENING: &str = "listening on ";
/// A wait that only ends a test that would otherwise hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// Lines of the log that may wait for a test to read them.
const LINES_MAX: usize = 10_000;

/// A folder with a key and a database, and its replica.
pub(crate) struct Folder {
    dir: TempDir,
    identities: Identities,
}

impl Folder {
    /// A folder that is ready to start in.
    pub(crate) fn ready() -> Self {
        let folder = Self::without_litestream();
        folder.save("litestream", LITESTREAM_YML, "yml");
        folder
    }

    /// A folder with nothing in the scope `litestream`.
    pub(crate) fn without_litestream() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let key = dir.path().join("age_key.txt");
        KeyFile::generate().write(&key).expect("a key");
        let identities = KeyFile::read(key, KeyFileCheck::Strict).expect("the key");
        ConfigStore::create(dir.path().join("app.db"), &identities).expect("a database");
        Self { dir, identities }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn save(&self, scope: &str, text: &str, format: &str) {
        self.save_bytes(scope, text.as_bytes(), format);
    }

    pub(crate) fn save_bytes(&self, scope: &str, bytes: &[u8], format: &str) {
        ConfigStore::open(self.path("app.db"))
            .expect("the database")
            .save(&self.identities, scope, bytes, format, "test")
            .expect("saved");
    }

    /// Starts the application, which has to fail; returns what it says on stderr.
    #[track_caller]
    pub(crate) fn fails(&self, flags: &str) -> String {
        let mut running = self.spawn(flags);
        while let Ok(line) = running.lines.recv_timeout(PATIENCE) {
            assert!(!line.contains(LISTENING), "{flags}: it started");
            running.log.push(line);
        }
        let (status, log) = running.ended();
        assert_eq!(status.code(), Some(1), "{flags}: {log}");
        log
    }

    /// Starts the application and waits until it listens.
    pub(crate) fn start(&self) -> Running {
        self.start_with("")
    }

    /// The same, with more flags.
    pub(crate) fn start_with(&self, flags: &str) -> Running {
        let mut running = self.spawn(&format!("{FLAGS} {flags}"));
        running.moved();
        running
    }

    /// The same, at a port that its configuration names.
    pub(crate) fn start_at_configured_address(&self) -> Running {
        self.save("application", "[server]\naddr = '127.0.0.1:0'\n", "toml");
        let mut running = self.spawn("-age-key age_key.txt -dbpath app.db");
        running.moved();
        running
    }

    fn spawn(&self, flags: &str) -> Running {
        let mut command = Command::new(PROGRAM);
        command.args(flags.split_whitespace()).env_clear();
        self.run(command)
    }

    /// Starts the application by a command that becomes it.
    pub(crate) fn run(&self, mut command: Command) -> Running {
        let mut child = command
            .current_dir(self.dir.path())
            .stdout(File::create(self.path("stdout")).expect("a file"))
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let (sender, lines) = sync_channel(LINES_MAX);
        std::thread::spawn(move || {
            stderr
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        Running {
            child,
            lines,
            log: Vec::new(),
            url: String::new(),
        }
    }

    /// The messages that a restore brings back, oldest first.
    pub(crate) fn restored(&self) -> Vec<String> {
        self.restored_from("litestream-replicas")
    }

    pub(crate) fn restored_from(&self, replica: &str) -> Vec<String> {
        let output = tempfile::tempdir().expect("a folder");
        let path = output.path().join("restored.db");
        self.restore(replica, &path);
        messages(&path)
    }

    /// Restores the newest state of a replica as `output`.
    pub(crate) fn restore(&self, replica: &str, output: &Path) {
        let replica = Replica::file(self.path(replica)).expect("a replica");
        tokio::runtime::Runtime::new()
            .expect("a runtime")
            .block_on(restore(&replica, RestoreOptions::new(output)))
            .expect("restored");
    }
}

fn messages(path: &Path) -> Vec<String> {
    let db = Connection::open(path).expect("a database");
    let mut rows = db
        .prepare("SELECT message FROM guestbook ORDER BY id")
        .expect("the table");
    let rows = rows.query_map([], |row| row.get(0)).expect("rows");
    rows.collect::<rusqlite::Result<_>>().expect("messages")
}

/// The application at work. It is killed when dropped.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    /// What was read of the log.
    pub(crate) log: Vec<String>,
    pub(crate) url: String,
}

/// What the application answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) location: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}

impl Running {
    pub(crate) fn get(&self, path: &str) -> Answer {
        let request = agent().get(format!("{}{path}", self.url));
        answer(request.call().expect("an answer"))
    }

    /// The policy of content that comes with a page.
    pub(crate) fn content_policy(&self, path: &str) -> String {
        let request = agent().get(format!("{}{path}", self.url));
        let response = request.call().expect("an answer");
        let policy = response.headers().get("content-security-policy");
        policy.expect("a policy").to_str().expect("text").to_owned()
    }

    /// Begins to listen to the events of the page on the replication.
    pub(crate) fn listen(&self) -> Result<Events, Answer> {
        let request = agent().get(format!("{}{EVENTS}", self.url));
        let response = request.call().expect("an answer");
        if response.status() == 200 {
            let (head, body) = response.into_parts();
            assert_eq!(head.headers["content-type"], "text/event-stream");
            Ok(Events(BufReader::new(body.into_reader()).lines()))
        } else {
            Err(answer(response))
        }
    }

    pub(crate) fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        let request = agent().post(format!("{}{path}", self.url));
        answer(request.send_form(form.iter().copied()).expect("an answer"))
    }

    /// Signs the guest book; the message is committed when this returns.
    #[track_caller]
    pub(crate) fn sign(&self, message: &str) {
        let answer = self.post("/entries", &[("name", "Ada"), ("message", message)]);
        assert_eq!(answer.status, 303, "{answer:?}");
    }

    /// Sends the head of a request, and returns when the application wants its body, which is
    /// [`LATE`].
    pub(crate) fn begin_signing(&self) -> TcpStream {
        let address = self.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).expect("a connection");
        let head = format!(
            "POST /entries HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\
             Expect: 100-continue\r\n\r\n",
            LATE.len()
        );
        stream.write_all(head.as_bytes()).expect("sent");
        let mut answer = [0; 25];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream
    }

    /// Waits until it listens, where it did not before.
    pub(crate) fn moved(&mut self) {
        let line = self.wait_for(LISTENING);
        let (_, url) = line.split_once(LISTENING).expect("a URL");
        url.clone_into(&mut self.url);
    }

    /// Waits until everything is durable. On a busy machine that may be longer than the application
    /// lets a request wait.
    #[track_caller]
    pub(crate) fn sync(&self) {
        let began = Instant::now();
        loop {
            let answer = self.post("/api/sync", &[]);
            if answer.status == 200 {
                return;
            }
            let is_late = answer.body.contains("did not confirm in time");
            assert!(is_late && began.elapsed() < PATIENCE, "{answer:?}");
        }
    }

    /// Waits for a line of the log that contains `text`.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).expect("it says so");
            self.log.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process"), signal).expect("sent");
    }

    /// Waits for the end; returns the log as well.
    pub(crate) fn ended(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().expect("it ends");
        self.log.extend(self.lines.iter());
        (status, self.log.join("\n"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already if all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a page hears.
pub(crate) struct Events(Lines<BufReader<BodyReader<'static>>>);

impl Iterator for Events {
    type Item = serde_json::Value;

    /// `None` when the application has ended the answer in order.
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let line = self.0.next()?.expect("a line");
            if let Some(data) = line.strip_prefix("data: ") {
                return Some(serde_json::from_str(data).expect("JSON"));
            }
        }
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(PATIENCE))
        .build()
        .into()
}

fn answer(mut response: ureq::http::Response<ureq::Body>) -> Answer {
    let location = response.headers().get("location");
    Answer {
        status: response.status().as_u16(),
        location: location
            .map_or("", |at| at.to_str().expect("text"))
            .to_owned(),
        body: response.body_mut().read_to_string().expect("text"),
    }
}
