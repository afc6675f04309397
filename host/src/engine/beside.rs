//! What runs beside the databases of one configuration: the control socket and the heartbeat.

use std::future::Future;
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::fleet::{Fleet, lock};
use super::pulse;
use super::status::{ControlState, HeartbeatState};
use crate::control::{self, ControlSettings};
use crate::heartbeat::HeartbeatSettings;

/// What runs now, and by which settings.
#[derive(Debug, Default)]
pub(super) struct Beside {
    control: Mutex<Option<Running<ControlSettings>>>,
    heartbeat: Mutex<Option<Running<HeartbeatSettings>>>,
}

#[derive(Debug)]
struct Running<T> {
    settings: T,
    task: JoinHandle<()>,
}

impl Beside {
    /// Answers at the control socket that the settings name, and at no other; returns when it
    /// does, or when the socket could not be made. Then replication goes on without it: the log
    /// and the status say why. Must be called within the runtime.
    pub(super) async fn listen(&self, fleet: &Arc<Fleet>, settings: Option<&ControlSettings>) {
        let replaced = replace(&self.control, settings);
        if replaced.is_same {
            return;
        }
        replaced.end().await;
        let Some(settings) = settings else {
            return fleet.set_control(ControlState::Off);
        };
        let (made, ready) = oneshot::channel();
        let work = control::run(settings.clone(), Arc::clone(fleet), made);
        start(&self.control, settings.clone(), work);
        // An error is a socket that was not made.
        let _ = ready.await;
    }

    /// Sends heartbeats as the settings say, or none. Must be called within the runtime.
    pub(super) async fn beat(&self, fleet: &Arc<Fleet>, settings: Option<&HeartbeatSettings>) {
        let replaced = replace(&self.heartbeat, settings);
        if replaced.is_same {
            return;
        }
        replaced.end().await;
        fleet.set_heartbeat(HeartbeatState::Off);
        if let Some(settings) = settings {
            let work = pulse::run(settings.clone(), Arc::clone(fleet));
            start(&self.heartbeat, settings.clone(), work);
        }
    }
}

/// What ran until now.
struct Replaced {
    is_same: bool,
    task: Option<JoinHandle<()>>,
}

impl Replaced {
    async fn end(self) {
        if let Some(task) = self.task {
            task.abort();
            // What it leaves behind, such as a socket, is gone when it has ended.
            let _ = task.await;
        }
    }
}

fn replace<T: PartialEq>(slot: &Mutex<Option<Running<T>>>, wanted: Option<&T>) -> Replaced {
    let mut slot = lock(slot);
    let is_same = slot.as_ref().map(|running| &running.settings) == wanted;
    Replaced {
        is_same,
        task: if is_same {
            None
        } else {
            slot.take().map(|running| running.task)
        },
    }
}

fn start<T>(
    slot: &Mutex<Option<Running<T>>>,
    settings: T,
    work: impl Future<Output = ()> + Send + 'static,
) {
    let task = tokio::spawn(work);
    *lock(slot) = Some(Running { settings, task });
}
