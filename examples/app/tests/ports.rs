//! Ports below 1024, for a user who may not have them.
#![expect(clippy::expect_used, reason = "a test stops at the first surprise")]

mod support;

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::process::{Signal, geteuid};
use support::{Folder, PROGRAM};

/// Nobody, who has no right of its own.
const NOBODY: u32 = 65534;

/// They look for the same port.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A folder of nobody, with the application inside, and a port that nobody may not have.
struct Poor {
    _turn: MutexGuard<'static, ()>,
    folder: Folder,
    program: PathBuf,
    port: u16,
}

impl Poor {
    /// `None` where that cannot be: the reason is printed.
    fn ready() -> Option<Self> {
        if !geteuid().is_root() {
            assert!(
                std::env::var_os("CI").is_none_or(|value| value != "true"),
                "only root can start a program as somebody else: let CI run as root"
            );
            return skipped("only root can start a program as somebody else");
        }
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let port = port()?;
        let folder = Folder::ready();
        let program = folder.path("myapp");
        fs::copy(PROGRAM, &program).expect("copied");
        give(folder.path("."));
        for entry in fs::read_dir(folder.path(".")).expect("a folder") {
            give(entry.expect("an entry").path());
        }
        Some(Self {
            _turn: turn,
            folder,
            program,
            port,
        })
    }

    /// Runs the application as nobody.
    fn command(&self) -> Command {
        let mut command = Command::new("/usr/bin/setpriv");
        let (user, group) = (format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"));
        command.args([&user, &group, "--clear-groups", "--"]);
        command.arg(&self.program);
        command.args(["-age-key", "age_key.txt", "-dbpath", "app.db"]);
        command.args(["-addr", &format!("127.0.0.1:{}", self.port)]);
        command.env_clear();
        command
    }
}

fn give(path: PathBuf) {
    chown(path, Some(NOBODY), Some(NOBODY)).expect("given away");
}

fn skipped<T>(why: &str) -> Option<T> {
    eprintln!("skipped: {why}");
    None
}

/// A port that is free and needs a right; 80, if it can be.
fn port() -> Option<u16> {
    let free_from = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    let free_from = free_from.expect("a setting").trim().parse::<u16>();
    let free_from = free_from.expect("a port");
    if free_from <= 1 {
        return skipped("here every port is for everybody (ip_unprivileged_port_start)");
    }
    for port in (80..free_from).chain(1..free_from.min(80)) {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Some(port),
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            Err(error) => return skipped(&format!("root may not listen at port {port}: {error}")),
        }
    }
    skipped("every port below 1024 is taken")
}

#[test]
fn who_may_not_have_a_port_is_told_the_command_that_allows_it() {
    let Some(poor) = Poor::ready() else {
        return;
    };
    let (status, log) = poor.folder.run(poor.command()).ended();
    assert_eq!(status.code(), Some(1), "{log}");
    let expected = format!(
        "Error: cannot listen on 127.0.0.1:{}: permission denied: ports below 1024 need a \
         capability; grant it with `sudo setcap cap_net_bind_service=+ep {}`, or give another \
         port with -addr",
        poor.port,
        poor.program.display()
    );
    assert_eq!(log.lines().last(), Some(expected.as_str()), "{log}");
    // It was found out before anything was replicated.
    assert!(!poor.folder.path("litestream-replicas").exists());
}

/// Why a capability of a file is not given to who runs it, if that is so.
fn is_ignored(file: &Path) -> Option<&'static str> {
    let status = fs::read_to_string("/proc/self/status").expect("a status");
    let flags = statvfs(file).expect("a file system").f_flag;
    if status.lines().any(|line| line == "NoNewPrivs:\t1") {
        Some("nothing here may get new rights (NoNewPrivs)")
    } else if flags.contains(StatVfsMountFlags::NOSUID) {
        Some("the file system of temporary files gives no rights (nosuid)")
    } else {
        None
    }
}

#[test]
fn after_that_command_the_port_is_served() {
    let Some(poor) = Poor::ready() else {
        return;
    };
    if let Some(why) = is_ignored(&poor.program) {
        return skipped(why).unwrap_or_default();
    }
    let granted = Command::new("setcap")
        .arg("cap_net_bind_service=+ep")
        .arg(&poor.program)
        .output()
        .expect("setcap, which .ci/setup installs");
    if !granted.status.success() {
        let why = String::from_utf8_lossy(&granted.stderr).into_owned();
        return skipped(&format!("setcap is refused: {why}")).unwrap_or_default();
    }
    let mut app = poor.folder.run(poor.command());
    app.moved();
    assert_eq!(app.url, format!("http://127.0.0.1:{}", poor.port));
    app.sign("from a port below 1024");
    app.signal(Signal::TERM);
    let (status, log) = app.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(poor.folder.restored(), ["from a port below 1024"]);
}
