#![allow(clippy::unwrap_used)]
use super::*;

fn files(files: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
    files.iter().map(|(path, content)| ((*path).to_owned(), content.as_bytes().to_vec())).collect()
}

/// The name of a bundle must never change: not with a release of ours, nor with one of the compressor's. Whoever sees this
/// fail keeps the old bytes for the old format, or makes a new format.
#[test]
fn the_bytes_of_an_archive_are_held() {
    let packed = pack(&files(&[("zentinel.kdl", "system {}\n"), ("tls/a.crt", ""), ("é", "\0\0")]));
    assert_eq!(packed.digest, "a574c6f1edf5c3807caafcc9984007a868fe94052e7749602b1c40fe2f28361a");
    let long = pack(&files(&[("zentinel.kdl", &"route \"a\" { upstream \"b\"; }\n".repeat(9_999))]));
    assert_eq!(long.digest, "ad8e535120a4e57c68b85acb30166992c3ed042d683a4f10bc993d08c981d485");
}

#[test]
fn the_manifest_is_compact_sorted_and_first() {
    let packed = pack(&files(&[("b", "2"), ("a/c", "1")]));
    let tar = zstd::decode_all(packed.archive.as_slice()).unwrap();
    let manifest = concat!(
        r#"{"format":"pilothouse.bundle.v1","files":["#,
        r#"{"path":"a/c","sha256":"6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b","bytes":1},"#,
        r#"{"path":"b","sha256":"d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35","bytes":1}]}"#,
    );
    assert_eq!(&tar[..13], b"manifest.json");
    assert_eq!(&tar[512..512 + manifest.len()], manifest.as_bytes());
    let paths: Vec<_> = packed.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["a/c", "b"]);
    assert_eq!(packed.digest, hex_sha256(&packed.archive));
}

#[test]
fn metadata_is_fixed_and_a_tar_program_would_understand_it() {
    let packed = pack(&files(&[("a/c", "1")]));
    let tar = zstd::decode_all(packed.archive.as_slice()).unwrap();
    for entry in tar::Archive::new(tar.as_slice()).entries().unwrap() {
        let entry = entry.unwrap();
        let header = entry.header();
        assert_eq!(header.entry_type(), EntryType::Regular);
        assert_eq!((header.mode().unwrap(), header.mtime().unwrap()), (0o644, 0));
        assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
        assert_eq!((header.username().unwrap(), header.groupname().unwrap()), (Some(""), Some("")));
    }
}

#[test]
fn a_path_that_cannot_be_in_an_archive_makes_one_that_nobody_reads() {
    for path in ["", "/a", "../a", "a//b", "a\\b", "manifest.json", &"a".repeat(101)] {
        let packed = pack(&files(&[(path, "x")]));
        assert!(crate::read(&packed.archive, &crate::UnpackLimits::default()).is_err(), "{path:?}");
    }
}
