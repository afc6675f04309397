// *patient*: in JavaScript. It waits longer for company the more often the store failed, and leaves
// the rest to Litestream's rules, as far as a page of code goes.

const SNAPSHOT = 9;
const HOUR = 3_600_000n;
// Rounds of a level are counted from the first of January of the year 1.
const YEAR_1 = 62_135_596_800_000n;

export function metadata() {
  return { name: "patient", version: "0.1.0", summary: "waits while the store is in trouble", needs: [] };
}

// An empty list leaves configurations to the built-in policy.
export function validate(_source, _context) {
  throw [];
}

export function planSync(facts) {
  const since = facts.sinceLastSync ?? facts.syncInterval;
  const usual = since < facts.syncInterval ? facts.syncInterval - since : 0n;
  const patience = facts.consecutiveFailures > 0 ? facts.syncInterval : usual;
  const left = facts.syncInterval - facts.oldestPendingAge;
  return { wait: left < 0n ? 0n : min(patience, left) };
}

export function planCheckpoint(facts) {
  const reaches = (limit) => limit > 0 && facts.walPages >= limit;
  const isDue =
    facts.checkpointInterval > 0n &&
    facts.sinceLastCheckpoint >= facts.checkpointInterval &&
    facts.writtenSinceLastCheckpoint;
  if (facts.snapshotRunning) return "none";
  if (reaches(facts.truncatePages)) return "truncate";
  return reaches(facts.minCheckpointPages) || isDue ? "passive" : "none";
}

export function planSnapshot(facts) {
  if (facts.marks.durable === 0n) return undefined;
  const newest = facts.snapshots.at(-1);
  if (newest === undefined) return "the replica has no snapshot";
  const isDue =
    facts.snapshotInterval > 0n &&
    newest.created < round(facts.now, facts.snapshotInterval) &&
    newest.maxTxid < facts.marks.durable;
  return isDue ? "the snapshot interval has passed" : undefined;
}

export function planVerification(facts) {
  const isDue =
    facts.validationInterval > 0n &&
    facts.sinceLastVerification >= facts.validationInterval &&
    facts.marks.durable > facts.verified;
  return isDue ? "the validation interval has passed" : undefined;
}

// The lowest level that has something to do merges what was sealed before its round began.
export function planCompaction(facts) {
  for (const level of facts.levels) {
    const begin = round(facts.now, max(level.interval, 1n));
    const isEarly = (file) => file.created >= begin && file.created <= facts.now;
    if (level.newest !== undefined && isEarly(level.newest)) continue;
    const end = level.waiting.findIndex(isEarly);
    const ready = end < 0 ? level.waiting : level.waiting.slice(0, end);
    const first = ready[0];
    if (first === undefined || (ready.length === 1 && level.level > 1 && !level.endsAtGap)) continue;
    if (first.minTxid === 1n && facts.now - first.created < HOUR) continue;
    const files = ready.slice(0, facts.inputsMax);
    const reason = `${files.length} files wait`;
    return [{ level: level.level, minTxid: first.minTxid, maxTxid: files.at(-1).maxTxid, reason }];
  }
  return [];
}

// What the host needs, and of level 0 what follows a file that is young.
export function planRetention(facts) {
  const keeps = [];
  let followsYoung = false;
  for (const { file, needed } of facts.files) {
    const isSingle = file.level === 0;
    const isYoung = facts.l0Retention === 0n || file.created + facts.l0Retention > facts.now;
    followsYoung ||= isSingle && isYoung;
    const reason = needed ?? (isSingle && followsYoung ? "follows a young file" : undefined);
    if (reason !== undefined) keep(keeps, file, reason);
  }
  return keeps;
}

export function planHolds(_facts) {
  return [];
}

export function approveRestore(_facts) {}

export function onEvent(event) {
  const { severity, code, message } = event;
  return event.begins
    ? [{ severity, code, message, quietFor: HOUR }]
    : [{ severity: "note", code: `${code}-ended`, message, quietFor: 0n }];
}

// What follows each other for one reason is named together; snapshots each for itself.
function keep(keeps, file, reason) {
  const last = keeps.at(-1);
  const continues = last?.level === file.level && last.reason === reason;
  if (continues && file.level !== SNAPSHOT && file.minTxid <= last.maxTxid + 1n) {
    last.maxTxid = max(last.maxTxid, file.maxTxid);
  } else {
    keeps.push({ level: file.level, minTxid: file.minTxid, maxTxid: file.maxTxid, reason });
  }
}

function round(now, interval) {
  return now - ((now + YEAR_1) % interval);
}

function min(a, b) {
  return a < b ? a : b;
}

function max(a, b) {
  return a > b ? a : b;
}
