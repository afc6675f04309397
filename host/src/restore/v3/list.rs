use futures::{StreamExt as _, TryStreamExt as _, stream};
use lockkeeper_core::generations::{FOLDER, GenerationId, Generations, SegmentFile, SnapshotFile};

use crate::Result;
use crate::store::{ObjectInfo, Store, Times};

/// Generations that are listed at a time.
const LISTS_MAX: usize = 8;

/// Everything that Litestream 0.3 left in a replica; nothing, in most.
pub(in crate::restore) async fn list(store: &dyn Store) -> Result<Generations> {
    let folders = store.folders(FOLDER).await?;
    let ids: Vec<_> = folders
        .iter()
        .filter_map(|folder| GenerationId::parse(folder))
        .collect();
    let parts = stream::iter(ids).map(|id| list_generation(store, id));
    let all = parts.buffered(LISTS_MAX);
    all.try_fold(Generations::default(), |mut all, mut part| async move {
        all.snapshots.append(&mut part.snapshots);
        all.segments.append(&mut part.segments);
        Ok(all)
    })
    .await
}

/// Objects with other names are skipped.
async fn list_generation(store: &dyn Store, generation: GenerationId) -> Result<Generations> {
    let snapshots = store
        .list(&generation.snapshots_folder(), Times::Listed)
        .await?;
    let segments = store
        .list(&generation.segments_folder(), Times::Listed)
        .await?;
    let snapshots = snapshots.iter().filter_map(|object| {
        Some(SnapshotFile {
            generation,
            index: SnapshotFile::parse_name(name(object))?,
            size: object.size,
            created_ms: object.created_by_ms(),
        })
    });
    let segments = segments.iter().filter_map(|object| {
        let (index, offset) = SegmentFile::parse_name(name(object))?;
        Some(SegmentFile {
            generation,
            index,
            offset,
            size: object.size,
            created_ms: object.created_by_ms(),
        })
    });
    Ok(Generations {
        snapshots: snapshots.collect(),
        segments: segments.collect(),
    })
}

fn name(object: &ObjectInfo) -> &str {
    object.key.rsplit('/').next().unwrap_or_default()
}
