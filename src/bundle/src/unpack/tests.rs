#![allow(clippy::unwrap_used)]
use super::*;
use crate::crafted::Tape;
use std::os::unix::fs::{MetadataExt, symlink};
use tar::EntryType;

const FILES: &[(&str, &[u8])] = &[("a", b"1"), ("d/e/f", b"3"), ("d/g", &[9; 70_000])];

fn limits() -> UnpackLimits {
    UnpackLimits::default()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

/// Everything below a directory.
fn tree(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(tree(&path).into_iter().map(|inner| format!("{name}/{inner}")));
            found.push(name + "/");
        } else {
            found.push(name);
        }
    }
    found.sort();
    found
}

#[test]
fn an_archive_becomes_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let into = dir.path().join("new");
    let files = unpack(&Tape::honest(FILES).end(), &into, &limits()).unwrap();
    assert_eq!(files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["a", "d/e/f", "d/g"]);
    assert_eq!(tree(&into), ["a", "d/", "d/e/", "d/e/f", "d/g"]);
    for (path, content) in FILES {
        assert_eq!(fs::read(into.join(path)).unwrap(), *content);
        assert_eq!(mode(&into.join(path)), 0o644);
    }
    assert_eq!([mode(&into), mode(&into.join("d")), mode(&into.join("d/e"))], [0o755; 3]);
    assert_eq!(tree(dir.path()).len(), 6, "nothing beside it");
}

#[test]
fn an_empty_directory_is_filled_and_anything_else_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Tape::honest(FILES).end();
    let place = |name: &str| dir.path().join(name);
    let create = |name: &str| fs::create_dir(place(name)).unwrap();
    create("empty");
    unpack(&archive, &place("empty"), &limits()).unwrap();
    create("used");
    fs::write(place("used/theirs"), b"kept").unwrap();
    create("target");
    symlink(place("target"), place("link")).unwrap();
    symlink(place("nowhere"), place("dangling")).unwrap();
    fs::write(place("file"), b"kept").unwrap();
    for name in ["used", "link", "dangling", "file"] {
        let refused = unpack(&archive, &place(name), &limits());
        assert!(matches!(refused, Err(UnpackError::NotEmpty { .. })), "{name}: {refused:?}");
    }
    assert_eq!(fs::read(place("used/theirs")).unwrap(), b"kept");
    assert_eq!(fs::read(place("file")).unwrap(), b"kept");
    assert!(tree(&place("target")).is_empty());
    assert!(!place("nowhere").exists());
    let missing = unpack(&archive, &place("a/b/c"), &limits());
    assert!(matches!(missing, Err(UnpackError::Io { action: "create", .. })), "{missing:?}");
}

/// Whatever is wrong, nothing stays behind, inside or outside of the directory.
#[test]
fn a_refused_archive_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let tape = || Tape::default().manifest(FILES).file("a", b"1");
    let archives = [
        Tape::honest(&[("../evil", b"x")]).end(),
        Tape::honest(&[("/tmp/pilothouse-evil", b"x")]).end(),
        tape().kind("d/e/f", EntryType::Symlink).end(),
        tape()
            .changed("d/e/f", b"", |h| {
                h.set_entry_type(EntryType::Symlink);
                h.set_link_name("../../..").unwrap();
            })
            .end(),
        tape().file("d/e/f", b"?").end(),
        tape().end(),
        tape().open_ended(),
        Tape::honest(FILES).file("more", b"x").end(),
        Tape::honest(FILES).bytes(&[0; 1024]).bytes(b"x").open_ended(),
        b"not an archive".to_vec(),
    ];
    for archive in archives {
        let into = dir.path().join("new");
        assert!(unpack(&archive, &into, &limits()).is_err());
        assert!(tree(dir.path()).is_empty(), "{:?}", tree(dir.path()));
    }
    let small = UnpackLimits { unpacked_bytes_max: 60_000, ..limits() };
    let refused = unpack(&Tape::honest(FILES).end(), &dir.path().join("new"), &small);
    assert!(matches!(refused, Err(UnpackError::UnpackedTooLarge { max: 60_000 })));
    assert!(tree(dir.path()).is_empty());
}

#[test]
fn what_was_unpacked_does_not_unpack_again_over_itself() {
    let dir = tempfile::tempdir().unwrap();
    let into = dir.path().join("new");
    let archive = Tape::honest(FILES).end();
    unpack(&archive, &into, &limits()).unwrap();
    assert!(matches!(unpack(&archive, &into, &limits()), Err(UnpackError::NotEmpty { .. })));
    assert_eq!(tree(&into).len(), 5, "the first one stays");
}
