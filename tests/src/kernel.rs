//! What the kernel knows of this process.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// How many locks this process holds on a file.
///
/// Counted descriptor by descriptor: `/proc/locks` is read in pieces, and may leave out a lock
/// while others come and go. A descriptor that is closed meanwhile counts as one without locks.
#[must_use]
pub fn locks_on(path: &Path) -> usize {
    let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    let file = identity(std::fs::metadata(path).expect("look at the file"));
    std::fs::read_dir("/proc/self/fd")
        .expect("list the descriptors")
        .map(|descriptor| descriptor.expect("list the descriptors"))
        .filter(|descriptor| {
            std::fs::metadata(descriptor.path()).is_ok_and(|found| identity(found) == file)
        })
        .filter_map(|descriptor| {
            let info = Path::new("/proc/self/fdinfo").join(descriptor.file_name());
            std::fs::read_to_string(info).ok()
        })
        .map(|info| info.lines().filter(|l| l.starts_with("lock:")).count())
        .sum()
}
