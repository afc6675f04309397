//! Litestream's rules: what a policy decides that wants nothing else.

use crate::lockkeeper::policy::types::{
    Alert, CheckpointFacts, CheckpointProposal, CompactionFacts, CompactionProposal, Event,
    FileFacts, Keep, LevelFacts, RetentionFacts, Severity, SnapshotFacts, SyncFacts, SyncProposal,
    VerificationFacts,
};

/// The level of snapshots.
pub const SNAPSHOT: u8 = 9;
/// Rounds of a level are counted from the first of January of the year 1, this long before 1970.
const YEAR_1_MS: u64 = 62_135_596_800_000;

/// At once after a quiet time; together, once per sync interval, while commits keep coming.
pub fn sync(facts: &SyncFacts) -> SyncProposal {
    let wait = match facts.since_last_sync {
        Some(since) => facts.sync_interval.saturating_sub(since),
        None => 0,
    };
    SyncProposal { wait }
}

/// By size first, then by time; never while a snapshot reads.
pub fn checkpoint(facts: &CheckpointFacts) -> CheckpointProposal {
    let reaches = |limit: u32| limit > 0 && facts.wal_pages >= limit;
    let is_due = facts.checkpoint_interval > 0
        && facts.since_last_checkpoint >= facts.checkpoint_interval
        && facts.written_since_last_checkpoint;
    if facts.snapshot_running {
        CheckpointProposal::None
    } else if reaches(facts.truncate_pages) {
        CheckpointProposal::Truncate
    } else if reaches(facts.min_checkpoint_pages) || is_due {
        CheckpointProposal::Passive
    } else {
        CheckpointProposal::None
    }
}

/// The first at once, then one in each interval that saw commits.
pub fn snapshot(facts: &SnapshotFacts) -> Option<String> {
    if facts.marks.durable == 0 {
        return None;
    }
    let Some(newest) = facts.snapshots.last() else {
        return Some("the replica has no snapshot".into());
    };
    let is_due = facts.snapshot_interval > 0
        && newest.created < round(facts.now, facts.snapshot_interval)
        && newest.max_txid < facts.marks.durable;
    is_due.then(|| "the snapshot interval has passed".into())
}

/// At the configured interval, if something new is durable.
pub fn verification(facts: &VerificationFacts) -> Option<String> {
    let is_due = facts.validation_interval > 0
        && facts.since_last_verification >= facts.validation_interval
        && facts.marks.durable > facts.verified;
    is_due.then(|| "the validation interval has passed".into())
}

/// The lowest level that has something to do merges what was sealed before its round began.
pub fn compaction(facts: &CompactionFacts) -> Vec<CompactionProposal> {
    let levels = facts.levels.iter();
    let mut merges = levels.map(|level| merges_of(level, facts.now, facts.inputs_max));
    merges.find(|merges| !merges.is_empty()).unwrap_or_default()
}

fn merges_of(level: &LevelFacts, now: u64, inputs_max: u32) -> Vec<CompactionProposal> {
    const HOUR: u64 = 3_600_000;
    let begin = round(now, level.interval.max(1));
    let is_early = |file: &FileFacts| (begin..=now).contains(&file.created);
    if level.newest.as_ref().is_some_and(is_early) {
        return Vec::new();
    }
    let ready: Vec<&FileFacts> = level
        .waiting
        .iter()
        .take_while(|it| !is_early(it))
        .collect();
    // From the first transaction on it would be the whole database: a snapshot comes first.
    let waits =
        |first: &&FileFacts| first.min_txid == 1 && now.saturating_sub(first.created) < HOUR;
    if ready.first().is_some_and(waits) {
        return Vec::new();
    }
    let is_last_before_gap = level.ends_at_gap && ready.len() == level.waiting.len();
    let is_worth_it =
        |files: &&[&FileFacts]| files.len() > 1 || level.level == 1 || is_last_before_gap;
    ready
        .chunks(inputs_max.max(1) as usize)
        .filter(is_worth_it)
        .filter_map(|files| {
            Some(CompactionProposal {
                level: level.level,
                min_txid: files.first()?.min_txid,
                max_txid: files.last()?.max_txid,
                reason: format!("{} files wait", files.len()),
            })
        })
        .collect()
}

/// What the host needs, and of level 0 what follows a file that is young.
pub fn retention(facts: &RetentionFacts) -> Vec<Keep> {
    let mut keeps = Vec::new();
    let mut follows_young = false;
    for held in &facts.files {
        let file = &held.file;
        let age = facts.now.saturating_sub(file.created);
        let is_single = file.level == 0;
        follows_young |= is_single && (facts.l0_retention == 0 || age < facts.l0_retention);
        let reason = held.needed.clone();
        let reason = reason
            .or_else(|| (is_single && follows_young).then(|| "follows a young file".to_owned()));
        if let Some(reason) = reason {
            keep(&mut keeps, file, reason);
        }
    }
    keeps
}

/// What follows each other for one reason is named together; snapshots each for itself.
fn keep(keeps: &mut Vec<Keep>, file: &FileFacts, reason: String) {
    if let Some(last) = keeps.last_mut()
        && file.level != SNAPSHOT
        && last.level == file.level
        && last.reason == reason
        && file.min_txid <= last.max_txid.saturating_add(1)
    {
        last.max_txid = last.max_txid.max(file.max_txid);
        return;
    }
    keeps.push(Keep {
        level: file.level,
        min_txid: file.min_txid,
        max_txid: file.max_txid,
        reason,
    });
}

/// What begins is told as the host sees it, once in an hour; what ends is a note.
pub fn alerts(event: Event) -> Vec<Alert> {
    const HOUR: u64 = 3_600_000;
    let (severity, code, quiet_for) = if event.begins {
        (event.severity, event.code, HOUR)
    } else {
        (Severity::Note, format!("{}-ended", event.code), 0)
    };
    vec![Alert {
        severity,
        code,
        message: event.message,
        quiet_for,
    }]
}

/// When the round of an interval began that runs at `now`.
fn round(now: u64, interval: u64) -> u64 {
    now.saturating_sub(now.saturating_add(YEAR_1_MS) % interval)
}
