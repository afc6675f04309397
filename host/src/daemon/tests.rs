//! The order of things, with daemons that write down what happens to them.

use std::sync::{Arc, Mutex};

use futures::FutureExt as _;

use super::*;
use crate::{Error, Lockkeeper};

type Diary = Arc<Mutex<Vec<String>>>;

/// What a daemon does when it is asked for it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Does {
    #[default]
    Well,
    Fail,
    Panic,
    Hang,
}

impl Does {
    async fn act(self) -> DaemonResult {
        match self {
            Self::Well => Ok(()),
            Self::Fail => Err("no luck".into()),
            Self::Panic => panic!("a bug"),
            Self::Hang => std::future::pending().await,
        }
    }
}

#[derive(Debug, Default)]
struct Scripted {
    name: &'static str,
    order: StopOrder,
    start: Does,
    reload: Does,
    stop: Does,
    /// How long it takes to stop.
    stop_takes: Duration,
    diary: Diary,
}

impl Scripted {
    fn note(&self, what: &str) {
        self.diary
            .lock()
            .unwrap()
            .push(format!("{} {what}", self.name));
    }
}

#[async_trait]
impl Daemon for Scripted {
    fn name(&self) -> &str {
        self.name
    }

    fn stop_order(&self) -> StopOrder {
        self.order
    }

    async fn start(&mut self) -> DaemonResult {
        // If two were started at a time, they would take turns here.
        self.note("starts");
        tokio::task::yield_now().await;
        self.start.act().await?;
        self.note("started");
        Ok(())
    }

    async fn reload(&mut self) -> DaemonResult {
        self.note("reloads");
        self.reload.act().await
    }

    async fn stop(&mut self, _deadline: Duration) -> DaemonResult {
        self.note("stops");
        tokio::time::sleep(self.stop_takes).await;
        self.stop.act().await?;
        self.note("stopped");
        Ok(())
    }
}

fn group(daemons: impl IntoIterator<Item = Scripted>) -> (Daemons, Diary) {
    let diary = Diary::default();
    let mut group = Daemons::new().stop_within(|| Duration::from_secs(15));
    for daemon in daemons {
        group = group.with(Scripted {
            diary: Arc::clone(&diary),
            ..daemon
        });
    }
    (group, diary)
}

fn named(name: &'static str) -> Scripted {
    Scripted {
        name,
        ..Scripted::default()
    }
}

fn taken(diary: &Diary) -> Vec<String> {
    std::mem::take(&mut diary.lock().unwrap())
}

#[tokio::test]
async fn b3c_each_is_started_when_the_one_before_it_runs() {
    let (mut group, diary) = group(["a", "b", "c"].map(named));
    group.start().await.unwrap();
    let expected =
        ["a", "b", "c"].map(|name| [format!("{name} starts"), format!("{name} started")]);
    assert_eq!(taken(&diary), expected.concat());
}

#[tokio::test]
async fn b3c_one_that_cannot_start_ends_those_before_it_and_keeps_those_after_it_from_starting() {
    for start in [Does::Fail, Does::Panic] {
        let middle = Scripted {
            start,
            ..named("b")
        };
        let (mut group, diary) = group([named("a"), middle, named("c")]);
        let error = group.start().await.unwrap_err().to_string();
        assert!(error.starts_with("cannot start b: "), "{error}");
        assert_eq!(
            taken(&diary),
            ["a starts", "a started", "b starts", "a stops", "a stopped"]
        );
        group.stop().await.unwrap();
        assert_eq!(taken(&diary), [""; 0], "nothing is stopped twice");
    }
}

#[tokio::test]
async fn b3c_stopping_what_never_started_returns_at_once() {
    let hanging = Scripted {
        stop: Does::Hang,
        ..named("a")
    };
    let (mut group, diary) = group([hanging]);
    group.stop().now_or_never().expect("at once").unwrap();
    assert_eq!(taken(&diary), [""; 0]);
    let mut replication = Replication::new(Lockkeeper::builder());
    let stopped = replication.stop(Duration::MAX).now_or_never();
    stopped.expect("at once").unwrap();
    assert!(replication.start().await.is_err());
    assert!(replication.handle().get().is_none());
}

#[tokio::test(start_paused = true)]
async fn b3c_all_stop_at_the_same_time_but_inputs_before_and_the_log_after_them() {
    let takes = |name, seconds, order| Scripted {
        stop_takes: Duration::from_secs(seconds),
        order,
        ..named(name)
    };
    let (mut group, diary) = group([
        takes("log", 0, StopOrder::Last),
        takes("slow", 4, StopOrder::Together),
        takes("quick", 3, StopOrder::Together),
        takes("web", 2, StopOrder::First),
    ]);
    group.start().await.unwrap();
    taken(&diary);
    let began = tokio::time::Instant::now();
    group.stop().await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 2 + 4);
    assert_eq!(
        taken(&diary),
        [
            "web stops",
            "web stopped",
            "slow stops",
            "quick stops",
            "quick stopped",
            "slow stopped",
            "log stops",
            "log stopped"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn one_that_hangs_or_fails_is_named_and_keeps_no_other_from_stopping() {
    for (stop, says) in [
        (Does::Hang, "it does not end"),
        (Does::Fail, "no luck"),
        (Does::Panic, "a bug"),
    ] {
        let bad = Scripted {
            stop,
            ..named("bad")
        };
        let log = Scripted {
            order: StopOrder::Last,
            ..named("log")
        };
        let (mut group, diary) = group([log, bad, named("good")]);
        group.start().await.unwrap();
        let began = tokio::time::Instant::now();
        let error = group.stop().await.unwrap_err().to_string();
        assert!(error.contains("cannot stop bad: "), "{error}");
        assert!(error.contains(says), "{error}");
        assert!(began.elapsed() < Duration::from_secs(30));
        let diary = taken(&diary);
        for stopped in ["good stopped", "log stopped"] {
            assert!(diary.iter().any(|line| line == stopped), "{diary:?}");
        }
    }
}

#[tokio::test]
async fn one_that_cannot_reload_is_named_and_keeps_no_other_from_it() {
    let bad = Scripted {
        reload: Does::Fail,
        ..named("bad")
    };
    let (mut group, diary) = group([bad, named("good")]);
    group.start().await.unwrap();
    taken(&diary);
    let error = group.reload().await.unwrap_err().to_string();
    assert_eq!(error, "cannot reload bad: no luck");
    assert_eq!(taken(&diary), ["bad reloads", "good reloads"]);
}

#[tokio::test]
async fn the_kind_of_an_error_is_that_of_its_cause() {
    struct Refused;
    #[async_trait]
    impl Daemon for Refused {
        fn name(&self) -> &'static str {
            "refused"
        }
        async fn start(&mut self) -> DaemonResult {
            Err(Error::invalid("nonsense").into())
        }
        async fn stop(&mut self, _deadline: Duration) -> DaemonResult {
            Ok(())
        }
    }
    let error = Daemons::new().with(Refused).start().await.unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Invalid);
    assert_eq!(error.to_string(), "cannot start refused: nonsense");
}
