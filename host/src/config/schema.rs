/// The configuration table: one row a save, never changed afterwards.
pub(super) const APP_CONFIG: &str = "
CREATE TABLE IF NOT EXISTS app_config (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    scope TEXT NOT NULL,
    content BLOB NOT NULL,
    format TEXT NOT NULL DEFAULT 'toml',
    description TEXT,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
);
CREATE INDEX IF NOT EXISTS idx_app_config_created ON app_config (created_at DESC);
";

/// The name of the table in [`SEALS`].
pub(super) const SEALS_NAME: &str = "lockkeeper_config_seals";

/// What binds each save to its place. A table of its own: the seed's tools know the other one only.
pub(super) const SEALS: &str = "
CREATE TABLE IF NOT EXISTS lockkeeper_config_seals (
    config_id INTEGER PRIMARY KEY,
    scope TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    seal BLOB NOT NULL
);
";

/// The other tables of a new application database.
pub(super) const APPLICATION: &str = "
CREATE TABLE job_queue (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job_type TEXT NOT NULL,
    payload TEXT NOT NULL DEFAULT '{}',
    payload_extra TEXT NOT NULL DEFAULT '{}',
    status TEXT NOT NULL DEFAULT 'pending',
    attempts INTEGER NOT NULL DEFAULT 0,
    max_attempts INTEGER NOT NULL DEFAULT 3,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
    updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
    scheduled_for TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
    locked_by TEXT NOT NULL DEFAULT '',
    locked_at TEXT NOT NULL DEFAULT '',
    completed_at TEXT NOT NULL DEFAULT '',
    last_error TEXT NOT NULL DEFAULT '',
    recurrent INTEGER NOT NULL DEFAULT 0,
    interval TEXT NOT NULL DEFAULT ''
);
CREATE INDEX idx_job_queue_status_id ON job_queue (status, id);
CREATE UNIQUE INDEX idx_job_unique ON job_queue (payload, job_type);
CREATE TABLE users (
    id TEXT PRIMARY KEY NOT NULL DEFAULT ('r' || lower(hex(randomblob(7)))),
    name TEXT NOT NULL DEFAULT '',
    password TEXT NOT NULL DEFAULT '',
    verified INTEGER NOT NULL DEFAULT 0,
    oauth2 INTEGER NOT NULL DEFAULT 0,
    externalAuth TEXT NOT NULL DEFAULT '',
    avatar TEXT NOT NULL DEFAULT '',
    email TEXT NOT NULL UNIQUE,
    emailVisibility INTEGER NOT NULL DEFAULT 0,
    created TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
    updated TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
);
";

/// The log, in a database of its own; the seed's tools make it in that of the application as well.
pub(crate) const LOGS: &str = "
CREATE TABLE IF NOT EXISTS logs (
    id TEXT PRIMARY KEY NOT NULL DEFAULT ('r' || lower(hex(randomblob(7)))),
    level INTEGER NOT NULL DEFAULT 0,
    message TEXT NOT NULL DEFAULT '',
    data JSON NOT NULL DEFAULT '{}',
    created TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
CREATE INDEX IF NOT EXISTS idx_logs_level ON logs (level);
CREATE INDEX IF NOT EXISTS idx_logs_message ON logs (message);
";

/// The first configuration of the application scope.
pub(super) const DEFAULT_CONFIG: &str = "\
[server]
addr = \":8080\"
shutdown_graceful_timeout = \"15s\"

[log.batch]
db_path = \"logs.db\"
level = \"info\"
flush_size = 100
flush_interval = \"5s\"
";
