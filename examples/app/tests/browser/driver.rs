//! A browser without a window, driven by chromedriver.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::support::PATIENCE;

const PORT: &str = "started successfully on port ";
pub(crate) const POLL: Duration = Duration::from_millis(50);
/// How long a browser that is told to end may take, before it is killed.
const END_MAX: Duration = Duration::from_secs(10);
const FLAGS: [&str; 11] = [
    "--headless",
    // A container has no rights for it; the page is our own.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--lang=en",
];

/// It ends when it is dropped, and so does the driver.
pub(crate) struct Browser {
    runtime: Runtime,
    /// `None` once it was told to end.
    client: Option<Client>,
    session: String,
    driver: Driver,
    profile: TempDir,
}

struct Driver {
    child: Child,
    url: String,
}

impl Browser {
    /// `None` where there is none, which is said; in CI that is a failure.
    pub(crate) fn start() -> Option<Self> {
        let (chromium, chromedriver) = (program("chromium")?, program("chromedriver")?);
        let driver = Driver::start(&chromedriver);
        let profile = tempfile::tempdir().expect("a folder");
        let folder = format!("--user-data-dir={}", profile.path().display());
        let flags: Vec<&str> = FLAGS.into_iter().chain([folder.as_str()]).collect();
        let wanted = json!({
            "goog:chromeOptions": { "binary": chromium, "args": flags },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let Value::Object(wanted) = wanted else {
            unreachable!("it is written above");
        };
        let runtime = Runtime::new().expect("a runtime");
        let client = runtime.block_on(async {
            let mut builder = ClientBuilder::new(HttpConnector::new());
            let client = builder.capabilities(wanted).connect(&driver.url).await;
            client.expect("a browser")
        });
        let session = runtime.block_on(client.session_id());
        Some(Self {
            session: session.expect("an answer").expect("a session"),
            client: Some(client),
            runtime,
            driver,
            profile,
        })
    }

    fn client(&self) -> &Client {
        self.client.as_ref().expect("it did not end")
    }

    pub(crate) fn open(&self, url: &str) {
        let opened = self.runtime.block_on(self.client().goto(url));
        opened.expect("a page");
    }

    /// What a script on the page returns.
    #[track_caller]
    pub(crate) fn ask(&self, script: &str) -> Value {
        let answer = self.client().execute(script, Vec::new());
        self.runtime.block_on(answer).expect("an answer")
    }

    /// The text of the first element that a selector finds.
    #[track_caller]
    pub(crate) fn text(&self, selector: &str) -> String {
        let found = self.ask(&format!(
            "return document.querySelector({})?.textContent",
            json!(selector)
        ));
        found.as_str().expect(selector).trim().to_owned()
    }

    /// Waits until a text is as it should be.
    #[track_caller]
    pub(crate) fn wait_for(&self, selector: &str, is_so: impl Fn(&str) -> bool) -> String {
        let began = Instant::now();
        loop {
            let text = self.text(selector);
            if is_so(&text) {
                return text;
            }
            assert!(began.elapsed() < PATIENCE, "{selector} stays: {text}");
            std::thread::sleep(POLL);
        }
    }

    /// Asks what only the tools of developers can.
    pub(crate) fn tools(&self, command: &str, parameters: &Value) -> Value {
        let body = json!({ "cmd": command, "params": parameters });
        self.post("goog/cdp/execute", &body)
    }

    /// What the browser said of the page since it was asked last: scripts that failed, and what its
    /// policy forbids.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let found = self.post("se/log", &json!({ "type": "browser" }));
        let found = found.as_array().expect("a list").iter();
        found.map(|entry| entry["message"].to_string()).collect()
    }

    fn post(&self, command: &str, body: &Value) -> Value {
        let (driver, session) = (&self.driver.url, &self.session);
        let answer = ureq::post(format!("{driver}/session/{session}/{command}"))
            .content_type("application/json")
            .send(body.to_string());
        let answer = answer.expect("an answer").body_mut().read_to_string();
        let answer: Value = serde_json::from_str(&answer.expect("text")).expect("JSON");
        answer["value"].clone()
    }

    /// Makes the window as large as a screen of so many pixels.
    pub(crate) fn resize(&self, width: u32, height: u32) {
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": 2, "mobile": width < 600,
        });
        self.tools("Emulation.setDeviceMetricsOverride", &metrics);
    }

    /// Prefers `light` or `dark`.
    pub(crate) fn prefer(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.tools(
            "Emulation.setEmulatedMedia",
            &json!({ "features": features }),
        );
    }

    /// Keeps a picture of the whole page, and says where.
    pub(crate) fn picture(&self, name: &str) {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pictures");
        fs::create_dir_all(&folder).expect("a folder");
        let size = self.ask(
            "const page = document.documentElement; \
             return [page.clientWidth, page.scrollHeight]",
        );
        let pixels = |n: usize| u32::try_from(size[n].as_u64().expect("pixels")).expect("few");
        self.resize(pixels(0), pixels(1));
        let picture = self.runtime.block_on(self.client().screenshot());
        let path = folder.join(format!("{name}.png"));
        fs::write(&path, picture.expect("a picture")).expect("written");
        println!("a picture of the page: {}", path.display());
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let end = self.client.take().map(Client::close);
        let ended = self.runtime.block_on(async {
            let end = async { end.expect("it did not end").await.is_ok() };
            tokio::time::timeout(END_MAX, end).await.unwrap_or(false)
        });
        if !ended {
            kill_browser(self.profile.path());
        }
    }
}

/// The browser leads a group of its own, and says in its profile which process it is.
fn kill_browser(profile: &Path) {
    let lock = fs::read_link(profile.join("SingletonLock"));
    let pid = lock.ok().and_then(|lock| {
        let (_, pid) = lock.to_str()?.rsplit_once('-')?;
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        let is_ours = command.contains(profile.to_str()?);
        is_ours.then(|| pid.parse().ok().and_then(Pid::from_raw))?
    });
    if let Some(pid) = pid {
        // It may have ended meanwhile.
        let _ = kill_process(pid, Signal::KILL);
    }
}

impl Driver {
    fn start(program: &Path) -> Self {
        let mut child = Command::new(program)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("a driver");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut lines = stdout.lines().map_while(Result::ok);
        let port = lines.find_map(|line| {
            let (_, port) = line.split_once(PORT)?;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        let driver = Self {
            url: format!("http://127.0.0.1:{}", port.unwrap_or_default()),
            child,
        };
        assert!(port.is_some(), "the driver did not say where it listens");
        // It must not be held up by what it says.
        std::thread::spawn(move || lines.count());
        driver
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

fn program(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    if found.is_none() {
        assert!(
            std::env::var_os("CI").is_none_or(|value| value != "true"),
            "there is no program {name}: run .ci/setup"
        );
        eprintln!("skipped: there is no program {name}; .ci/setup installs it");
    }
    found
}
