//! From a part of the log to a sealed file.

use lockkeeper_ltx::wal::{WalHeader, frame_offset};
use lockkeeper_ltx::{FileName, Header, PageSize, Pgno, Txid, TxidRange, WalIndexHeader, WalSpan};

use super::encode::{Sink, WRITE_BYTES, encode};
use super::image::Image;
use super::log::{Position, Run};
use super::page_hashes::{NewHashes, PageHashes};
use super::{Capture, Sealed};
use crate::spool::Draft;
use crate::{Error, Result};

impl Capture {
    pub(super) fn seal_run(
        &mut self,
        from: &Position,
        mut run: Run,
        state: &WalIndexHeader,
    ) -> Result<Sealed> {
        let changes = if run.end.frames() == u64::from(state.frames) {
            Some(state.changes)
        } else {
            run.end.changes
        };
        let lock_page = self.page_size.lock_page();
        // A page that came with growth but was never written is on the free list; it still has
        // content, and the restored file must have the same.
        let grown: Vec<Pgno> = pages_of(run.commit, self.page_size)
            .skip_while(|pgno| pgno.get() <= self.commit)
            .filter(|pgno| !run.pages.contains_key(pgno))
            .collect();
        let written = run.pages.keys().copied();
        let mut wanted: Vec<Pgno> = written.filter(|pgno| *pgno != lock_page).collect();
        if !grown.is_empty() {
            wanted.extend(&grown);
            wanted.sort_unstable();
            if let Some(mut all) = self.frames_until(&run.end, run.commit)? {
                all.append(&mut run.pages);
                run.pages = all;
            }
        }
        let span = span(from, &run.end);
        let txid = self.write_file(&wanted, &run, span)?;
        self.position = Some(Position { changes, ..run.end });
        self.commit = run.commit;
        Ok(Sealed::Incremental(txid))
    }

    /// Seals the database as it is in this state of the log, whatever came before: the pages that
    /// differ from the last sealed transaction where hashes tell them, else every page.
    pub(super) fn seal_state(
        &mut self,
        header: &WalHeader,
        state: &WalIndexHeader,
    ) -> Result<Sealed> {
        let start = Position::start_of(*header);
        let run = self.run_until(&start, state)?.ok_or_else(|| {
            Error::unavailable(format!(
                "{} changed while it was read",
                self.log.path().display()
            ))
        })?;
        let span = span(&start, &run.end);
        self.page_size = header.page_size;
        let sealed = match self.changed_pages(&run)? {
            Some(wanted) => Sealed::Compared(self.write_file(&wanted, &run, span)?),
            None => {
                self.hashes = None;
                let wanted: Vec<Pgno> = pages_of(run.commit, self.page_size).collect();
                let hashes = self.or_none(NewHashes::begin(&self.spool, self.page_size));
                let mut recorder = Recorder::Every(hashes);
                let txid = self.write(&wanted, &run, span, &mut recorder)?;
                self.hashes = recorder
                    .into_new()
                    .and_then(|new| self.or_none(new.finish(&self.spool, txid, run.commit)));
                Sealed::Full(txid)
            }
        };
        self.position = Some(Position {
            changes: Some(state.changes),
            ..run.end
        });
        self.commit = run.commit;
        Ok(sealed)
    }

    /// The pages of the database that differ from the last sealed transaction; `None` if that
    /// cannot be told.
    fn changed_pages(&self, run: &Run) -> Result<Option<Vec<Pgno>>> {
        let Some(hashes) = &self.hashes else {
            return Ok(None);
        };
        if Some(hashes.last()) != self.last || hashes.page_size() != self.page_size {
            return Ok(None);
        }
        let mut image = self.image(run)?;
        let mut reader = hashes.reader();
        let mut changed = Vec::new();
        for pgno in pages_of(run.commit, self.page_size) {
            if reader.is_changed(pgno, image.read(pgno)?)? {
                changed.push(pgno);
            }
        }
        // A file without pages would say nothing about the log that it stands for.
        if changed.is_empty() {
            changed.extend(Pgno::new(1));
        }
        Ok(Some(changed))
    }

    /// Writes the next file, and keeps the hashes in step with it.
    fn write_file(&mut self, wanted: &[Pgno], run: &Run, wal: WalSpan) -> Result<Txid> {
        let Some(mut hashes) = self.hashes.take() else {
            return self.write(wanted, run, wal, &mut Recorder::Every(None));
        };
        let mut recorder = Recorder::Changed(&hashes, Vec::with_capacity(wanted.len()));
        let written = self.write(wanted, run, wal, &mut recorder);
        let pages = recorder.into_changed();
        if let Ok(txid) = written {
            let kept = hashes.sealed(&self.spool, txid, run.commit, pages);
            self.hashes = self.or_none(kept.map(|()| hashes));
        } else {
            self.hashes = Some(hashes);
        }
        written
    }

    fn write(
        &mut self,
        wanted: &[Pgno],
        run: &Run,
        wal: WalSpan,
        recorder: &mut Recorder<'_>,
    ) -> Result<Txid> {
        let txid = match self.last {
            None => Txid::FIRST,
            Some(last) => last
                .next()
                .ok_or_else(|| Error::internal("transaction ids are used up"))?,
        };
        let header = Header::new(
            self.page_size,
            run.commit,
            TxidRange::single(txid),
            crate::clock::now_ms(),
            wal,
        );
        let mut draft = self.spool.create(txid)?;
        let mut out = Vec::with_capacity(WRITE_BYTES);
        encode(
            &mut self.image(run)?,
            header,
            self.options.encoding,
            wanted,
            &mut out,
            &mut Recorded {
                draft: &mut draft,
                recorder,
            },
        )?;
        let identity = draft.seal()?;
        self.ours
            .push(FileName::new(TxidRange::single(txid)), identity);
        self.last = Some(txid);
        Ok(txid)
    }

    fn image<'a>(&'a self, run: &'a Run) -> Result<Image<'a>> {
        let pin = self
            .pin
            .as_ref()
            .ok_or_else(|| Error::internal("the log is not held"))?;
        Ok(Image::new(
            pin.connection(),
            &self.log,
            &run.end,
            &run.pages,
        ))
    }

    /// Hashes save space and nothing else: without them capture goes on.
    pub(super) fn or_none<T>(&self, hashes: Result<T>) -> Option<T> {
        match hashes {
            Ok(hashes) => Some(hashes),
            Err(error) => {
                tracing::warn!(
                    database = %self.options.database.display(), %error,
                    "the page hashes cannot be kept; after the next interruption every page is sent"
                );
                None
            }
        }
    }
}

/// What becomes of the hashes of the pages that are written.
enum Recorder<'a> {
    /// The file holds every page, and begins new hashes if they can be kept.
    Every(Option<NewHashes>),
    /// The pages of this file are to take the place of what the hashes say.
    Changed(&'a PageHashes, Vec<(Pgno, u128)>),
}

impl Recorder<'_> {
    fn into_new(self) -> Option<NewHashes> {
        match self {
            Self::Every(new) => new,
            Self::Changed(..) => None,
        }
    }

    fn into_changed(self) -> Vec<(Pgno, u128)> {
        match self {
            Self::Every(_) => Vec::new(),
            Self::Changed(_, pages) => pages,
        }
    }
}

/// A file whose pages are hashed on the way.
struct Recorded<'a, 'b, 'c> {
    draft: &'a mut Draft<'b>,
    recorder: &'a mut Recorder<'c>,
}

impl Sink for Recorded<'_, '_, '_> {
    fn page(&mut self, pgno: Pgno, page: &[u8]) -> Result<()> {
        match self.recorder {
            Recorder::Changed(hashes, pages) => pages.push((pgno, hashes.hash(page))),
            Recorder::Every(None) => {}
            Recorder::Every(Some(new)) => {
                if let Err(error) = new.push(pgno, page) {
                    tracing::warn!(%error, "the page hashes cannot be kept");
                    *self.recorder = Recorder::Every(None);
                }
            }
        }
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.draft.write(bytes)
    }
}

/// Every page of a database of `commit` pages but the lock page, which is never written.
pub(super) fn pages_of(commit: u32, page_size: PageSize) -> impl Iterator<Item = Pgno> {
    let lock_page = page_size.lock_page();
    (1..=commit)
        .filter_map(Pgno::new)
        .filter(move |pgno| *pgno != lock_page)
}

/// The part of a log between two places, as the header of an L0 file states it.
fn span(from: &Position, end: &Position) -> WalSpan {
    let offset = frame_offset(from.frames(), end.header.page_size);
    WalSpan {
        offset,
        size: frame_offset(end.frames(), end.header.page_size).saturating_sub(offset),
        salt1: end.header.salt1,
        salt2: end.header.salt2,
    }
}
