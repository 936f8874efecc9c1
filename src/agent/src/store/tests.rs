#![allow(clippy::unwrap_used)]
use super::*;
use crate::testing::archive;

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

fn install(store: &Store, n: u8) -> String {
    let (bytes, digest) = archive(n);
    store.install(&bytes, &digest, &UnpackLimits::default()).unwrap();
    digest
}

fn config(store: &Store, digest: &str) -> String {
    fs::read_to_string(store.bundle(digest).join("zentinel.kdl")).unwrap()
}

#[test]
fn current_leads_to_the_bundle_it_was_pointed_at() {
    let (dir, store) = store();
    let (one, two) = (install(&store, 1), install(&store, 2));
    store.point(&one).unwrap();
    store.point(&two).unwrap();
    assert_eq!(store.current().as_deref(), Some(two.as_str()));
    let through = fs::read_to_string(dir.path().join("current/zentinel.kdl")).unwrap();
    assert_eq!(through, config(&store, &two));
    assert!(store.point(&"0".repeat(64)).is_err(), "a bundle that is not there");
    assert_eq!(store.current().as_deref(), Some(two.as_str()), "stays");
    store.unpoint().unwrap();
    store.unpoint().unwrap();
    assert_eq!(store.current(), None);
}

#[test]
fn a_second_unpacking_keeps_what_is_whole_and_mends_what_was_changed() {
    let (_dir, store) = store();
    let digest = install(&store, 1);
    let good = config(&store, &digest);
    let before = fs::metadata(store.bundle(&digest)).unwrap();
    install(&store, 1);
    use std::os::unix::fs::MetadataExt;
    assert_eq!(fs::metadata(store.bundle(&digest)).unwrap().ino(), before.ino(), "the same directory");
    for tamper in ["zentinel.kdl", "extra"] {
        fs::write(store.bundle(&digest).join(tamper), "tampered").unwrap();
        install(&store, 1);
        assert_eq!(config(&store, &digest), good);
        assert_eq!(count_files(&store.bundle(&digest)).unwrap(), 1);
    }
    assert_eq!(names(&store.root.join(BUNDLES)).unwrap(), [digest]);
}

#[test]
fn archives_that_are_damaged_leave_nothing() {
    let (_dir, store) = store();
    let (mut bytes, digest) = archive(1);
    bytes.truncate(bytes.len() / 2);
    let error = store.install(&bytes, &digest, &UnpackLimits::default()).unwrap_err();
    assert!(error.is_archive());
    assert!(!store.has(&digest) && names(&store.root.join(BUNDLES)).unwrap().is_empty());
}

#[test]
fn what_a_crash_leaves_is_removed_or_put_back() {
    let (dir, store) = store();
    let (one, two) = (install(&store, 1), install(&store, 2));
    store.point(&one).unwrap();
    // Between the two renames of a replacement, in the middle of an unpacking, and before the rename of the link.
    fs::rename(store.bundle(&one), store.beside(&one, "old")).unwrap();
    fs::create_dir(store.beside(&two, "old")).unwrap();
    fs::create_dir_all(store.beside(&one, "tmp").join("a")).unwrap();
    symlink("nowhere", dir.path().join(CURRENT_BESIDE)).unwrap();
    store.clean().unwrap();
    assert_eq!(store.current().as_deref(), Some(one.as_str()));
    assert!(!config(&store, &one).is_empty());
    let mut left = names(&store.root.join(BUNDLES)).unwrap();
    left.sort();
    let mut expected = [one, two.clone()];
    expected.sort();
    assert_eq!(left, expected);
    store.point(&two).unwrap();
}

#[test]
fn old_bundles_go_and_those_in_use_stay() {
    let (_dir, store) = store();
    let digests: Vec<String> = (1..=5).map(|n| install(&store, n)).collect();
    for (age, digest) in digests.iter().rev().enumerate() {
        let time = std::time::SystemTime::now() - std::time::Duration::from_secs(age as u64 * 60);
        File::open(store.bundle(digest)).unwrap().set_modified(time).unwrap();
    }
    fs::write(store.download(&digests[0]), b"half").unwrap();
    store.prune(3, &[&digests[0], &digests[1]]).unwrap();
    let left: Vec<bool> = digests.iter().map(|digest| store.has(digest)).collect();
    assert_eq!(left, [true, true, false, false, true]);
    store.prune(1, &[&digests[0], &digests[1]]).unwrap();
    let left: Vec<bool> = digests.iter().map(|digest| store.has(digest)).collect();
    assert_eq!(left, [true, true, false, false, false]);
    assert!(!store.download(&digests[0]).exists());
}
