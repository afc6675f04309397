//! What a policy component costs: once to compile, and for each call in an instance of its own.
#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot run has no result"
)]

use divan::Bencher;
use lockkeeper::policy::{Component, PolicySource};

const CONFIGURATION: &str = "\
dbs:
  - path: app.db
    replica:
      type: file
      path: /backup
";

fn main() {
    divan::main();
}

#[divan::bench(sample_count = 10)]
fn compile(bencher: Bencher<'_, '_>) {
    let source = PolicySource::Bytes(lockkeeper_component::DEFAULT_POLICY.to_vec());
    bencher.bench(|| Component::load(&source).expect("the component loads"));
}

#[divan::bench]
fn validate(bencher: Bencher<'_, '_>) {
    let policy = Component::load(&PolicySource::Embedded).expect("the component loads");
    bencher.bench(|| {
        let found = policy.validate(CONFIGURATION, &["file"]);
        assert!(found.expect("it answers").is_valid());
    });
}
