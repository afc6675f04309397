//! When a heartbeat is sent: only while every commit is durable in time.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::future::try_join_all;
use tokio::time::{Instant, timeout};

use super::fleet::Fleet;
use super::status::HeartbeatState;
use super::sync::Until;
use crate::heartbeat::{Heartbeat, HeartbeatSettings};

/// How often it is looked whether one is due, as with Litestream.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// How long what is committed may take to be durable.
const SYNC_MAX: Duration = Duration::from_secs(30);

/// Sends heartbeats for as long as it is polled.
pub(super) async fn run(settings: HeartbeatSettings, fleet: Arc<Fleet>) {
    beat(settings, fleet, LOOK_EVERY).await;
}

async fn beat(settings: HeartbeatSettings, fleet: Arc<Fleet>, look_every: Duration) {
    let heartbeat = match Heartbeat::new(settings.url) {
        Ok(heartbeat) => heartbeat,
        Err(error) => return tell(&fleet, HeartbeatState::Failing(error.to_string())),
    };
    tell(&fleet, HeartbeatState::Waiting);
    let mut tried: Option<Instant> = None;
    loop {
        tokio::time::sleep(look_every).await;
        if tried.is_some_and(|tried| tried.elapsed() < settings.interval) {
            continue;
        }
        if let Err(why) = all_is_well(&fleet).await {
            tell(&fleet, HeartbeatState::Withheld(why));
            continue;
        }
        // A server that fails is not asked more often for that.
        tried = Some(Instant::now());
        match heartbeat.send().await {
            Ok(()) => tell(&fleet, HeartbeatState::Sent(SystemTime::now())),
            Err(error) => tell(&fleet, HeartbeatState::Failing(error.to_string())),
        }
    }
}

/// Whether everything that is committed now becomes durable in time, and nothing else is known to
/// be wrong. A sync also finds out whether commits are still noticed.
async fn all_is_well(fleet: &Fleet) -> Result<(), String> {
    let members = fleet.members();
    if members.is_empty() {
        return Err("no database is replicated".to_owned());
    }
    no_problem(fleet)?;
    let synced = try_join_all(
        members
            .into_iter()
            .map(|member| member.sync(Until::Durable)),
    );
    match timeout(SYNC_MAX, synced).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => {
            let waited = humantime::format_duration(SYNC_MAX);
            return Err(format!("not everything became durable within {waited}"));
        }
    }
    no_problem(fleet)
}

fn no_problem(fleet: &Fleet) -> Result<(), String> {
    match fleet.status().problems().into_iter().next() {
        Some(problem) => Err(problem),
        None => Ok(()),
    }
}

/// Says what changed.
fn tell(fleet: &Fleet, state: HeartbeatState) {
    let before = fleet.set_heartbeat(state.clone());
    match (state, before) {
        (HeartbeatState::Sent(_), HeartbeatState::Withheld(_) | HeartbeatState::Failing(_)) => {
            tracing::info!("heartbeats are sent again");
        }
        (HeartbeatState::Withheld(why), before)
            if !matches!(before, HeartbeatState::Withheld(_)) =>
        {
            tracing::warn!(%why, "no heartbeat is sent");
        }
        (HeartbeatState::Failing(why), before) if !matches!(before, HeartbeatState::Failing(_)) => {
            tracing::warn!(%why, "a heartbeat did not arrive");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
