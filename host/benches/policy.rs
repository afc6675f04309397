//! What a policy component costs: once to compile, and for each call in an instance of its own.

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
    bencher.bench(|| Component::load(&source).expect("the embedded component loads"));
}

#[divan::bench]
fn validate(bencher: Bencher<'_, '_>) {
    let policy = Component::load(&PolicySource::Embedded).expect("the embedded component loads");
    bencher.bench(|| {
        policy
            .validate(CONFIGURATION, &["file"])
            .expect("it answers")
    });
}
