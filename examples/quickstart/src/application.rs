//! The application as a process of its own, and a visitor who talks to it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use ureq::http::Response;
use ureq::{Agent, Body};

use crate::RUN_APPLICATION;

const LISTENING: &str = "listening on ";
/// Far more than an answer takes; ends the quickstart where it would otherwise hang.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The running application. It is killed when dropped.
pub(crate) struct Application {
    child: Child,
    agent: Agent,
    url: String,
}

/// A message the application has acknowledged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Message {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) text: String,
}

impl Application {
    /// Starts it in `folder`, on a port that is free, and waits until it listens. Its log goes to
    /// `app.log`.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let log = folder.join("app.log");
        let mut child = Command::new(program)
            .args([
                RUN_APPLICATION,
                "-age-key",
                "age_key.txt",
                "-dbpath",
                "app.db",
            ])
            .args(["-addr", "127.0.0.1:0"])
            .current_dir(folder)
            .stdout(File::create(folder.join("replication.log"))?)
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start the application")?;
        let stderr = child
            .stderr
            .take()
            .context("the application has no stderr")?;
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(ANSWER_TIMEOUT))
            .build()
            .into();
        let mut application = Self {
            child,
            agent,
            url: String::new(),
        };
        application.url = first_url(BufReader::new(stderr), &log)
            .with_context(|| format!("the application did not start: {}", tail(&log)))?;
        Ok(application)
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Signs the guest book. The message is committed when this returns.
    pub(crate) fn sign(&self, name: String, text: String) -> Result<Message> {
        let answer = self
            .agent
            .post(format!("{}/entries", self.url))
            .send_form([("name", &name), ("message", &text)])?;
        let id = answer.headers().get("location").and_then(|place| {
            place
                .to_str()
                .ok()?
                .strip_prefix("/#message-")?
                .parse()
                .ok()
        });
        match id {
            Some(id) => Ok(Message { id, name, text }),
            None => bail!("a message was refused: status {}", answer.status()),
        }
    }

    /// Waits until everything that is committed is durable. Returns the last transaction.
    pub(crate) fn sync(&self) -> Result<u64> {
        let answer = self
            .agent
            .post(format!("{}/api/sync", self.url))
            .send_empty()?;
        let answer = json(answer)?;
        answer["data"]["databases"][0]["durable"]
            .as_u64()
            .with_context(|| format!("not durable: {answer}"))
    }

    /// Ends it as a power cut would: without a chance to do anything.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Ends it as an operator would.
    pub(crate) fn stop(mut self) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("the application has no process")?, Signal::TERM)?;
        let status = self.child.wait()?;
        if !status.success() {
            bail!("the application ended with {status}");
        }
        Ok(())
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        // It has ended already if all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn json(mut answer: Response<Body>) -> Result<Value> {
    Ok(serde_json::from_str(&answer.body_mut().read_to_string()?)?)
}

/// The address in the log; what follows in the log goes to the file.
fn first_url(mut stderr: impl BufRead + Send + 'static, log: &PathBuf) -> Result<String> {
    let mut file = File::create(log)?;
    let mut line = String::new();
    while stderr.read_line(&mut line)? > 0 {
        file.write_all(line.as_bytes())?;
        if let Some((_, url)) = line.split_once(LISTENING) {
            let url = url.trim_end().to_owned();
            std::thread::spawn(move || std::io::copy(&mut stderr, &mut file));
            return Ok(url);
        }
        line.clear();
    }
    bail!("it ended before it listened")
}

/// The last line of a log.
fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines().last().unwrap_or("no reason given").to_owned()
}
