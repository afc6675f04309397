//! Restores of replicas that Litestream wrote, held against what Litestream restored from them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use lockkeeper::Result;
use lockkeeper::restore::{
    RestoreOptions, Target, check_timestamp, plan_only, plan_restore, restore,
};
use lockkeeper::store::Replica;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

const LTX_REPLICAS: [&str; 3] = [
    "a_ps512_autovacuum_shrink",
    "c_ps65536_autovacuum_full",
    "d1_v0515_lz4frame_pages",
];
const REPLICAS: [&str; 4] = [
    LTX_REPLICAS[0],
    LTX_REPLICAS[1],
    LTX_REPLICAS[2],
    "e1_v0313_generations",
];

/// Unpacks a vector. Times are creation times here, so they keep their nanoseconds.
fn unpack(name: &str, into: &Path) -> (PathBuf, Value) {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors");
    let packed = std::fs::File::open(vectors.join(format!("{name}.tar.gz"))).unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(packed));
    let mut times = HashMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = into.join(entry.path().unwrap());
        let exact = entry.pax_extensions().unwrap().and_then(|extensions| {
            let mut mtimes = extensions.flatten().filter(|e| e.key() == Ok("mtime"));
            mtimes.next().map(|e| e.value().unwrap().to_owned())
        });
        let exact = exact.unwrap_or_else(|| entry.header().mtime().unwrap().to_string());
        assert!(entry.unpack_in(into).unwrap());
        times.insert(path, exact);
    }
    for (path, time) in times.iter().filter(|(path, _)| path.is_file()) {
        let (seconds, fraction) = time.split_once('.').unwrap_or((time, ""));
        let nanos = format!("{fraction:0<9}").parse().unwrap();
        let time = UNIX_EPOCH + Duration::new(seconds.parse().unwrap(), nanos);
        std::fs::File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_modified(time)
            .unwrap();
    }
    let folder = into.join(name);
    let text = std::fs::read_to_string(folder.join("expected.json")).unwrap();
    (folder, serde_json::from_str(&text).unwrap())
}

fn target(args: &Value) -> Target {
    let args: Vec<&str> = args
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a.as_str().unwrap())
        .collect();
    match args[..] {
        [] => Target::Latest,
        ["-txid", txid] => Target::Txid(txid.parse().unwrap()),
        ["-timestamp", time] => {
            Target::Before(time.parse::<jiff::Timestamp>().unwrap().as_millisecond())
        }
        _ => panic!("unknown arguments {args:?}"),
    }
}

/// What `litestream restore <url>` does: the bounds of time, then the restore.
async fn run(replica: &Path, target: Target, output: PathBuf) -> Result<String> {
    let replica = Replica::file(replica)?;
    if let Target::Before(time_ms) = target {
        check_timestamp(&replica, time_ms).await?;
    }
    restore(
        &replica,
        RestoreOptions {
            target,
            ..RestoreOptions::new(&output)
        },
    )
    .await?;
    let digest = Sha256::digest(std::fs::read(output).unwrap());
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[tokio::test]
async fn the_plan_is_that_of_litestream() {
    for name in LTX_REPLICAS {
        let dir = tempfile::tempdir().unwrap();
        let (folder, expected) = unpack(name, dir.path());
        let replica = Replica::file(folder.join("replica")).unwrap();
        let plan = plan_only(&replica, Target::Latest).await.unwrap();
        let files = plan.files().iter();
        let found: Vec<Value> = files
            .map(|f| serde_json::json!([f.level.get(), f.name.to_string(), f.size]))
            .collect();
        assert_eq!(Value::Array(found), expected["plan_latest"], "{name}");
    }
}

#[tokio::test]
async fn a_target_has_a_plan_where_litestream_restores_it() {
    let mut cases = 0;
    for name in REPLICAS {
        let dir = tempfile::tempdir().unwrap();
        let (folder, expected) = unpack(name, dir.path());
        let replica = Replica::file(folder.join("replica")).unwrap();
        for case in expected["expected"].as_array().unwrap() {
            let target = target(&case["args"]);
            let mut found = plan_restore(&replica, target).await.map(drop);
            if let Target::Before(time_ms) = target {
                found = found.and(check_timestamp(&replica, time_ms).await);
            }
            assert_eq!(
                found.is_ok(),
                case["ok"] == true,
                "{name} {} {found:?}",
                case["args"]
            );
            cases += 1;
        }
    }
    assert!(cases > 30, "{cases}");
}

#[tokio::test]
async fn every_restore_is_equal_byte_by_byte() {
    for name in REPLICAS {
        let dir = tempfile::tempdir().unwrap();
        let (folder, expected) = unpack(name, dir.path());
        for (n, case) in expected["expected"].as_array().unwrap().iter().enumerate() {
            let output = dir.path().join(format!("{n}.db"));
            let found = run(&folder.join("replica"), target(&case["args"]), output).await;
            assert_eq!(
                found.as_deref().ok(),
                case["sha256"].as_str(),
                "{name} {case} {found:?}"
            );
        }
    }
}

#[tokio::test]
async fn damaged_and_odd_files_are_judged_as_litestream_does() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, expected) = unpack("t_tolerance", dir.path());
    let mut wrong = Vec::new();
    for (n, case) in expected["cases"].as_array().unwrap().iter().enumerate() {
        let output = dir.path().join(format!("{n}.db"));
        let name = case["case"].as_str().unwrap();
        let found = run(&folder.join(name), target(&case["args"]), output.clone()).await;
        if found.as_deref().ok() != case["sha256"].as_str() {
            wrong.push(format!("{name}: {found:?}"));
        }
        assert_eq!(output.exists(), found.is_ok(), "{name}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
