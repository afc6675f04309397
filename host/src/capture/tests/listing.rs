//! What the index of the log says, against what a walk through the log finds.

use std::os::unix::fs::FileExt;

use lockkeeper_ltx::wal::frame_offset;

use super::*;
use crate::capture::frames::FrameReader;

/// A log of more frames than two blocks of the index list, with pages that were written often, cut
/// off and rolled back, some of them after they were spilled.
fn eventful() -> Fixture {
    let fixture = Fixture::new(512);
    let app = &fixture.app;
    app.pragma_update(None, "cache_size", 10).unwrap();
    for round in 0..60 {
        app.execute_batch("BEGIN").unwrap();
        (0..40).for_each(|_| fixture.insert(3_000));
        let end = if round % 3 == 0 { "ROLLBACK" } else { "COMMIT" };
        app.execute_batch(end).unwrap();
        fixture.insert(20);
        if round % 7 == 0 {
            app.execute_batch("DELETE FROM t WHERE id % 2; PRAGMA incremental_vacuum")
                .unwrap();
        }
    }
    fixture
}

#[test]
fn the_index_lists_what_a_walk_finds() {
    let fixture = eventful();
    let capture = fixture.capture();
    let header = capture.log.header().unwrap().unwrap();
    let state = connection::log_state(&capture.control).unwrap();
    let frames = u64::from(state.frames);
    assert!(frames > 2 * 4_096, "{frames}");
    for begin in [0, 1, 4_061, 4_062, 4_063, frames / 2] {
        let start = Position::start_of(header);
        // The end of the transaction in which that frame is.
        let begin = (begin..)
            .find_map(|end| capture.log.read(&start, end, 0).unwrap())
            .map_or(start, |run| run.end);
        let walked = capture.log.read(&begin, frames, 0).unwrap().unwrap();
        let listed = capture.run_until(&begin, &state).unwrap().unwrap();
        assert_eq!(listed.pages, walked.pages);
        assert_eq!(listed.commit, walked.commit);
        assert_eq!(listed.end.frames(), walked.end.frames());
        assert_eq!(listed.end.reader.checksum(), walked.end.reader.checksum());
        let until = capture.frames_until(&walked.end, walked.commit).unwrap();
        let all = capture.log.read(&Position::start_of(header), frames, 0);
        assert_eq!(until.unwrap(), all.unwrap().unwrap().pages);
    }
}

#[test]
fn a_log_that_was_restarted_is_not_listed_as_the_one_before() {
    let fixture = Fixture::new(4096);
    fixture.insert(100);
    let mut capture = fixture.capture();
    seal_all(&mut capture);
    let position = capture.position.clone().unwrap();
    let state = connection::log_state(&capture.control).unwrap();
    capture.pin = None;
    fixture
        .app
        .query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()))
        .unwrap();
    for _ in 0..10 {
        fixture.insert(100);
    }
    assert!(capture.run_until(&position, &state).unwrap().is_none());
    assert!(capture.frames_until(&position, 1).unwrap().is_none());
}

#[test]
fn a_frame_that_is_damaged_is_never_sealed() {
    // A page number, the size of the database, a salt, a checksum, the page.
    for place in [3, 7, 9, 17, 24, 24 + 4_095] {
        let fixture = Fixture::new(4096);
        let mut capture = fixture.capture();
        seal_all(&mut capture);
        let last = capture.last();
        fixture.insert(100);
        let frames = connection::log_state(&capture.control).unwrap().frames;
        let frame = frame_offset(u64::from(frames) - 1, capture.page_size);
        let log = std::fs::File::options()
            .read(true)
            .write(true)
            .open(capture.log.path())
            .unwrap();
        let mut byte = [0];
        log.read_exact_at(&mut byte, frame + place).unwrap();
        log.write_all_at(&[byte[0] ^ 1], frame + place).unwrap();
        let sealed = capture.seal_next();
        assert!(sealed.is_err(), "byte {place}: {sealed:?}");
        assert_eq!(capture.last(), last, "byte {place}");
        log.write_all_at(&byte, frame + place).unwrap();
        assert!(matches!(
            seal_all(&mut capture)[..],
            [Sealed::Incremental(_)]
        ));
        assert_restores(&fixture, &capture);
    }
}

#[test]
fn a_page_is_read_from_no_frame_that_holds_another() {
    let fixture = Fixture::new(4096);
    fixture.insert(100);
    let capture = fixture.capture();
    let position = capture.log.header().unwrap().map(Position::start_of);
    let state = connection::log_state(&capture.control).unwrap();
    let listed = capture.run_until(&position.unwrap(), &state).unwrap();
    for (&pgno, &frame) in &listed.unwrap().pages {
        let header = capture.log.header().unwrap().unwrap();
        let mut frames = FrameReader::new(&capture.log, header, state.frames.into());
        assert!(frames.page(frame, pgno).is_ok());
        assert!(frames.page(frame, pgno.next().unwrap()).is_err());
    }
}
