use super::*;
use crate::ErrorKind;
use crate::config::{KeyFile, KeyFileCheck};

const WORDS: &str = "correct horse battery staple";
const YML: &str = "dbs:\n  - path: app.db\n    replica: {path: canary}\n";

fn kit(folder: &Path) -> RecoveryKit {
    let key = folder.join("key");
    KeyFile::generate().write(&key).unwrap();
    let identities = KeyFile::read(&key, KeyFileCheck::Strict).unwrap();
    let store = ConfigStore::create(folder.join("app.db"), &identities).unwrap();
    store
        .save(&identities, LITESTREAM_SCOPE, YML.as_bytes(), "yml", "")
        .unwrap();
    RecoveryKit::collect(&store, &identities).unwrap()
}

fn passphrase() -> Passphrase {
    Passphrase::for_new_kit(WORDS.to_owned()).unwrap()
}

#[test]
fn a_kit_is_opened_by_its_passphrase_only() {
    let dir = tempfile::tempdir().unwrap();
    let kit = kit(dir.path());
    let sealed = kit.seal(&passphrase()).unwrap();
    for secret in ["AGE-SECRET-KEY", "canary"] {
        let found = sealed
            .windows(secret.len())
            .any(|part| part == secret.as_bytes());
        assert!(!found, "{secret}");
    }
    let wrong = RecoveryKit::open(&sealed, &Passphrase::new("wrong".to_owned())).unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::Invalid);
    assert!(wrong.to_string().contains("does not open"), "{wrong}");
    let opened = RecoveryKit::open(&sealed, &passphrase()).unwrap();
    let folder = dir.path().join("new");
    fs::create_dir(&folder).unwrap();
    opened.unpack(&folder).unwrap();
    let identities = KeyFile::read(folder.join("age_key.txt"), KeyFileCheck::Strict).unwrap();
    let store = ConfigStore::open(dir.path().join("app.db")).unwrap();
    let entry = store.get(&identities, LITESTREAM_SCOPE, 0).unwrap();
    assert_eq!(entry.plaintext.as_slice(), YML.as_bytes());
    assert_eq!(
        fs::read_to_string(folder.join("litestream.yml")).unwrap(),
        YML
    );
    // A database that is put back to before the export is noticed on the new machine too.
    let seen = fs::read_to_string(folder.join(".app.db-config-seen")).unwrap();
    assert_eq!(seen, r#"{"application":1,"litestream":1}"#);
}

#[test]
fn a_kit_is_an_age_file_with_a_tar_archive_inside() {
    let dir = tempfile::tempdir().unwrap();
    let sealed = kit(dir.path()).seal(&passphrase()).unwrap();
    let identity = age::scrypt::Identity::new(SecretString::from(WORDS));
    let archive = age::decrypt(&identity, &sealed).unwrap();
    let mut archive = tar::Archive::new(archive.as_slice());
    let names: Vec<String> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect();
    let expected = [
        "README.txt",
        "age_key.txt",
        "litestream.yml",
        ".app.db-config-seen",
    ];
    assert_eq!(names, expected);
}

#[test]
fn bytes_that_are_no_kit_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let kit = kit(dir.path());
    let sealed = kit.seal(&passphrase()).unwrap();
    let mut flipped = sealed.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let for_a_key = fs::read(dir.path().join("app.db")).unwrap();
    let large = vec![0; KIT_MAX + 1];
    for (bytes, kind) in [
        (&b""[..], ErrorKind::Invalid),
        (&sealed[..40], ErrorKind::Invalid),
        (&sealed[..sealed.len() - 1], ErrorKind::Corrupt),
        (&flipped, ErrorKind::Corrupt),
        (&for_a_key, ErrorKind::Invalid),
        (&large, ErrorKind::Invalid),
    ] {
        let error = RecoveryKit::open(bytes, &passphrase()).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
    for archive in [&b"no tar"[..], &[0; 1024], &kit.archive().unwrap()[..512]] {
        assert!(RecoveryKit::from_archive(archive).is_err());
    }
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for name in ["../age_key.txt", "/tmp/x", ".a/../b-config-seen", "other"] {
        assert!(!is_known(name), "{name}");
    }
    let dir = tempfile::tempdir().unwrap();
    let mut kit = kit(dir.path());
    kit.files.push(("other".to_owned(), Zeroizing::default()));
    assert!(RecoveryKit::from_archive(&kit.archive().unwrap()).is_err());
}

#[test]
fn a_file_that_is_in_the_way_stays_and_nothing_else_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let kit = kit(dir.path());
    let folder = dir.path().join("new");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("litestream.yml"), "mine").unwrap();
    let error = kit.unpack(&folder).unwrap_err();
    assert!(error.to_string().contains("already exists"), "{error}");
    let left: Vec<_> = fs::read_dir(&folder).unwrap().collect();
    assert_eq!(left.len(), 1);
    assert_eq!(
        fs::read_to_string(folder.join("litestream.yml")).unwrap(),
        "mine"
    );
}

#[test]
fn a_short_passphrase_makes_no_kit_and_none_is_printed() {
    assert!(Passphrase::for_new_kit("elevenchars".to_owned()).is_err());
    let shown = format!("{:?}", passphrase());
    assert!(!shown.contains("horse"), "{shown}");
    let dir = tempfile::tempdir().unwrap();
    let shown = format!("{:?}", kit(dir.path()));
    assert!(
        !shown.contains("SECRET") && !shown.contains("canary"),
        "{shown}"
    );
}
