//! The files of a replica, as they are known without asking it.

use std::collections::BTreeSet;

use lockkeeper_core::inventory::ReplicaFile;
use lockkeeper_core::restore;
use lockkeeper_ltx::Level;

/// The files of the replica. Whoever writes or deletes one records it here, so that the replica is
/// listed once and an idle database makes no request.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    /// `None` until the replica was listed.
    files: Option<Vec<ReplicaFile>>,
    /// Files that were written while the replica was being listed: the listing may lack them.
    recent: Vec<ReplicaFile>,
    /// Grows with each change.
    version: u64,
    /// What can be restored, as of a version: an idle database is looked through once.
    window: Option<(u64, Option<Window>)>,
}

/// The files that end at the oldest and at the newest point that can be restored.
type Window = (ReplicaFile, ReplicaFile);

impl Catalogue {
    /// The replica was listed.
    pub(super) fn listed(&mut self, mut files: Vec<ReplicaFile>) {
        files.append(&mut self.recent);
        self.files = Some(files);
        self.count_change();
    }

    /// The replica has one more file.
    pub(super) fn added(&mut self, file: ReplicaFile) {
        match &mut self.files {
            Some(known) => known.push(file),
            None => self.recent.push(file),
        }
        self.count_change();
    }

    /// These files were deleted from the replica.
    pub(super) fn removed(&mut self, gone: &[ReplicaFile]) {
        let gone: BTreeSet<_> = gone.iter().map(|file| (file.level, file.name)).collect();
        if let Some(known) = &mut self.files {
            known.retain(|file| !gone.contains(&(file.level, file.name)));
        }
        self.count_change();
    }

    /// The replica may hold something else than what is known.
    pub(super) fn forget(&mut self) {
        self.files = None;
        self.recent.clear();
        self.count_change();
    }

    /// Every file; `None` until the replica was listed.
    pub(super) fn files(&self) -> Option<&[ReplicaFile]> {
        self.files.as_deref()
    }

    /// The snapshots, oldest first; `None` until the replica was listed.
    pub(super) fn snapshots(&self) -> Option<Vec<ReplicaFile>> {
        let files = self.files()?.iter();
        let mut snapshots: Vec<ReplicaFile> = files
            .filter(|file| file.level == Level::SNAPSHOT)
            .copied()
            .collect();
        snapshots.sort_by_key(|file| file.name);
        Some(snapshots)
    }

    /// The ends of what can be restored; `None` until the replica was listed, or if nothing can.
    pub(super) fn window(&mut self) -> Option<Window> {
        match self.window {
            Some((version, window)) if version == self.version => window,
            _ => {
                let window = self.files().and_then(restore::window);
                self.window = Some((self.version, window));
                window
            }
        }
    }

    /// Another number after each change.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    fn count_change(&mut self) {
        self.version = self.version.wrapping_add(1);
    }
}
