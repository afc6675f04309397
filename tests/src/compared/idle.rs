use std::time::{Duration, Instant};

use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

use super::app::App;
use super::place::Place;
use super::program::Program;
use super::{Finding, Hazard, Scale, figure};

/// About 200 MB of them.
const ROWS: u32 = 50_000;
/// What both programs do from time to time lies in few of these seconds.
const SECONDS: usize = 9;

pub(super) const HAZARD: Hazard = Hazard {
    promise: "An idle database is not read",
    staging: "A database of 200 MB is replicated for the first time, so that the newest file of \
              level 0 holds every page. Then nobody writes. What the process reads and how long it \
              computes is taken for nine seconds; the figures are those of the median second.",
    observe,
};

fn observe(program: &Program, scale: Scale) -> Finding {
    let place = Place::new("", "");
    let _app = App::create(&place.database(), "first", scale.of(ROWS));
    let running = program.replicate(&place);
    program.sync(&place);
    let size = std::fs::metadata(place.database())
        .expect("look at the database")
        .len();
    let (mut read, mut computed) = (Vec::new(), Vec::new());
    for _ in 0..SECONDS {
        let before = (bytes_read(running.id()), cpu(running.id()));
        let started = Instant::now();
        std::thread::sleep(Duration::from_secs(1));
        let seconds = started.elapsed().as_secs_f64();
        read.push(bytes_read(running.id()) - before.0);
        computed.push((cpu(running.id()) - before.1).as_secs_f64() / seconds);
    }
    read.sort_unstable();
    computed.sort_by(f64::total_cmp);
    let (read, computed) = (read[SECONDS / 2], computed[SECONDS / 2]);
    let of_database = 100.0 * read as f64 / size as f64;
    Finding {
        holds: read < size / 2,
        words: format!(
            "each second it reads {} of the database and uses {} of a core",
            figure(of_database, "%"),
            figure(100.0 * computed, "%")
        ),
    }
}

/// Bytes that a process has read, whether or not from a disk.
fn bytes_read(id: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{id}/io")).expect("it runs");
    let count = text.lines().find_map(|line| line.strip_prefix("rchar: "));
    count.and_then(|count| count.parse().ok()).expect("a count")
}

/// Processor time of all threads of a process, in its own code and in the kernel for it.
fn cpu(id: u32) -> Duration {
    let id = Pid::from_raw(i32::try_from(id).expect("a process id"));
    let clock = clock_getcpuclockid(id).expect("it runs");
    clock.now().expect("read a clock").into()
}
