#![allow(clippy::unwrap_used)]
use super::*;
use crate::crafted::Tape;
use crate::manifest::PathError;
use crate::pack::{compress, pack};
use proptest::prelude::*;
use tar::EntryType;

fn error(archive: &[u8]) -> UnpackError {
    read(archive, &UnpackLimits::default()).expect_err("the archive is refused")
}

/// The error with its causes.
fn told(archive: &[u8]) -> String {
    let error = error(archive);
    match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[test]
fn an_honest_archive_is_read_however_it_was_compressed() {
    let tape = Tape::honest(&[("a", b"1"), ("d/b", &[7; 513])]).bytes(&[0; 1024]);
    for archive in [compress(&tape.0), zstd::bulk::compress(&tape.0, 1).unwrap()] {
        let contents = read(&archive, &UnpackLimits::default()).unwrap();
        assert_eq!(contents.files["a"], b"1");
        assert_eq!(contents.files["d/b"], [7; 513]);
    }
}

#[test]
fn only_regular_files_with_the_packers_headers_are_accepted() {
    let files: &[(&str, &[u8])] = &[("a", b"")];
    let tape = || Tape::default().manifest(files);
    let kinds = [
        EntryType::Link,
        EntryType::Symlink,
        EntryType::Char,
        EntryType::Block,
        EntryType::Directory,
        EntryType::Fifo,
        EntryType::GNUSparse,
        EntryType::GNULongName,
        EntryType::GNULongLink,
        EntryType::XHeader,
        EntryType::XGlobalHeader,
        EntryType::Continuous,
        EntryType::new(b'V'),
    ];
    for kind in kinds {
        let told = told(&tape().kind("a", kind).end());
        assert_eq!(told, "the entry \"a\" is not a regular file", "{kind:?}");
    }
    let header = |change: fn(&mut tar::Header)| told(&tape().changed("a", b"", change).end());
    let refused = "the entry \"a\" has a header that the packer does not write";
    assert_eq!(header(|h| h.set_mode(0o4755)), refused);
    assert_eq!(header(|h| h.set_uid(1)), refused);
    assert_eq!(header(|h| h.set_gid(1)), refused);
    assert_eq!(header(|h| h.set_mtime(1)), refused);
    assert_eq!(header(|h| h.set_link_name("/etc/passwd").unwrap()), refused);
    assert_eq!(header(|h| h.set_username("root").unwrap()), refused);
    assert_eq!(header(|h| h.as_mut_bytes()[511] = 1), refused);
    assert_eq!(header(|h| h.as_mut_bytes()[124..136].copy_from_slice(b"not a size!!")), refused);
    assert_eq!(header(|h| h.as_mut_bytes()[50] = b'x'), refused, "a name behind the end of the name");
    let prefixed = header(|h| h.as_mut_bytes()[345] = b'.');
    assert!(prefixed.ends_with("has a header that the packer does not write"), "{prefixed}");
    let mut damaged = tape().file("a", b"");
    let checksum = damaged.0.len() - 512 + 148;
    damaged.0[checksum] ^= 1;
    assert_eq!(told(&damaged.end()), refused);
}

#[test]
fn paths_that_leave_the_directory_are_refused_in_entry_and_manifest() {
    let long = "a".repeat(101);
    let cases: [(&str, PathError); 12] = [
        ("/etc/passwd", PathError::Part),
        ("../a", PathError::Part),
        ("a/../../b", PathError::Part),
        ("a/./b", PathError::Part),
        ("a//b", PathError::Part),
        ("a/", PathError::Part),
        ("..", PathError::Part),
        ("a\\b", PathError::Character),
        ("a\nb", PathError::Character),
        ("a\u{85}b", PathError::Character),
        ("manifest.json/a", PathError::Reserved),
        (&long, PathError::Length),
    ];
    for (path, cause) in cases {
        let expected = format!("the path {path:?} is refused: {cause}");
        assert_eq!(told(&Tape::honest(&[(path, b"x")]).end()), expected);
        if cause != PathError::Length {
            assert_eq!(told(&Tape::default().manifest(&[("a", b"x")]).file(path, b"x").end()), expected);
        }
    }
    let null = Tape::honest(&[("a\0b", b"x")]).end();
    assert_eq!(told(&null), "the path \"a\\0b\" is refused: it holds a backslash or a control character");
    let latin = Tape::default().manifest(&[("a", b"")]).changed("a", b"", |h| h.as_mut_bytes()[0] = 0xe9).end();
    assert_eq!(told(&latin), "the name of an entry is not UTF-8");
}

#[test]
fn the_manifest_decides_what_the_archive_holds() {
    let files: &[(&str, &[u8])] = &[("a", b"1"), ("b", b"2")];
    let tape = || Tape::default().manifest(files);
    let unexpected = |path: &str| format!("the entry {path:?} is not the one that the manifest has at this place");
    assert_eq!(told(&tape().file("a", b"1").end()), "the file \"b\" of the manifest is missing");
    assert_eq!(told(&tape().file("b", b"2").file("a", b"1").end()), unexpected("b"));
    assert_eq!(told(&Tape::honest(files).file("c", b"3").end()), unexpected("c"));
    assert_eq!(told(&Tape::honest(files).file("b", b"2").end()), unexpected("b"));
    assert_eq!(told(&tape().file("a", b"1").file("a", b"1").end()), unexpected("a"));
    assert_eq!(told(&tape().manifest(files).end()), unexpected("manifest.json"));
    assert_eq!(told(&tape().file("a", b"x").end()), "the file \"a\" does not have the digest that the manifest says");
    assert_eq!(told(&tape().file("a", b"11").end()), "the file \"a\" does not have the size that the manifest says");
    assert_eq!(told(&Tape::default().file("a", b"1").manifest(files).end()), "the first entry is not manifest.json");
    assert_eq!(told(&Tape::default().end()), "the first entry is not manifest.json");
}

#[test]
fn a_manifest_has_one_form_only() {
    let told_of = |manifest: &str| told(&Tape::default().file("manifest.json", manifest.as_bytes()).end());
    let entry = |path: &str| format!("{{\"path\":\"{path}\",\"sha256\":\"{}\",\"bytes\":0}}", "0".repeat(64));
    let of = |entries: &[String]| format!("{{\"format\":\"pilothouse.bundle.v1\",\"files\":[{}]}}", entries.join(","));
    let unsorted = "manifest.json is not sorted, or names a file twice";
    assert_eq!(told_of(&of(&[entry("b"), entry("a")])), unsorted);
    assert_eq!(told_of(&of(&[entry("a"), entry("a")])), unsorted);
    assert_eq!(
        told_of(&of(&[entry("a"), entry("a.b"), entry("a/b")])),
        "manifest.json names a file that is also a directory"
    );
    assert_eq!(told_of(&of(&[entry("a").replace('0', "G")])), "manifest.json is not valid JSON");
    assert_eq!(told_of(&of(&[entry("a").replacen("00", "AA", 1)])), "manifest.json holds a digest that is not one");
    assert_eq!(told_of(&of(&[entry("a")]).replace(":[", ": [")), "manifest.json is not in its one normal form");
    assert_eq!(told_of(&of(&[]).replace("v1", "v2")), "manifest.json has an unknown format");
    assert_eq!(told_of(&of(&[]).replace("\"files\"", "\"id\":1,\"files\"")), "manifest.json is not valid JSON");
    assert_eq!(told_of(""), "manifest.json is not valid JSON");
    assert_eq!(told_of(&"[".repeat(100_000)), "manifest.json is not valid JSON");
}

#[test]
fn an_archive_ends_where_it_says() {
    let honest = Tape::honest(&[("a", b"1")]);
    let trailing = "something follows the end of the archive";
    assert_eq!(told(&honest.clone().bytes(&[0; 1024]).bytes(&[0; 512]).open_ended()), trailing);
    assert_eq!(told(&honest.clone().bytes(&[0; 1024]).bytes(b"x").open_ended()), trailing);
    let archive = honest.clone().end();
    assert_eq!(told(&[archive.as_slice(), b"x"].concat()), trailing);
    assert_eq!(told(&[archive.as_slice(), archive.as_slice()].concat()), trailing, "a second frame");
    assert_eq!(
        told(&honest.clone().bytes(&[0; 512]).bytes(&[1; 512]).open_ended()),
        "the entry \"\" has a header that the packer does not write"
    );
    let dirty = Tape::default().manifest(&[("a", b"1")]).file("a", b"1");
    let mut padded = dirty.clone();
    let last = padded.0.len() - 1;
    padded.0[last] = 1;
    assert_eq!(told(&padded.end()), "the entry \"a\" has a header that the packer does not write");
    assert!(matches!(error(&honest.clone().bytes(&[0; 512]).open_ended()), UnpackError::Zstd(_)));
    assert!(matches!(error(&honest.open_ended()), UnpackError::Zstd(_)));
    for cut in 0..archive.len() {
        assert!(read(&archive[..cut], &UnpackLimits::default()).is_err(), "cut off at {cut}");
    }
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0], archive.as_slice()].concat();
    assert!(matches!(error(&skippable), UnpackError::Zstd(_)));
}

#[test]
fn damage_anywhere_is_noticed() {
    let content: Vec<u8> = (0..5_000_u32).map(|n| ((n * n) >> 7) as u8).collect();
    let archive = Tape::honest(&[("a", &content)]).end();
    for at in 0..archive.len() {
        let mut damaged = archive.clone();
        damaged[at] ^= 0x10;
        if let Ok(contents) = read(&damaged, &UnpackLimits::default()) {
            assert_eq!(contents.files["a"], content, "a flipped bit at {at} changed the content");
        }
    }
}

#[test]
fn bombs_stop_at_the_limits() {
    let limits = UnpackLimits { archive_bytes_max: 1 << 20, unpacked_bytes_max: 1 << 20, files_max: 3 };
    let told = |archive: &[u8]| read(archive, &limits).unwrap_err().to_string();
    let zeros = vec![0; 16 << 20];
    let bomb = Tape::honest(&[("a", &zeros)]).end();
    assert!(bomb.len() < 1 << 16);
    assert_eq!(told(&bomb), "the archive unpacks to more than 1048576 bytes");
    let liar =
        Tape::default().manifest(&[("a", b"")]).changed("a", &zeros, |header| header.set_size(u64::MAX / 2)).end();
    assert_eq!(told(&liar), "the file \"a\" does not have the size that the manifest says");
    let manifest = Tape::default().file("manifest.json", &zeros).end();
    assert_eq!(told(&manifest), "manifest.json is too large");
    assert_eq!(told(&vec![0; (1 << 20) + 1]), "the archive has more than 1048576 bytes");
    let many: &[(&str, &[u8])] = &[("a", b""), ("b", b""), ("c", b""), ("d", b"")];
    assert_eq!(told(&Tape::honest(many).end()), "the archive has more than 3 files");
    assert!(read(&Tape::honest(&many[..3]).end(), &limits).is_ok());
    let endless = Tape::honest(&many[..3]).bytes(&zeros).open_ended();
    assert_eq!(told(&endless), "something follows the end of the archive");
}

#[test]
fn the_limit_of_unpacked_bytes_is_exact() {
    let tape = Tape::honest(&[("a", b"1")]).bytes(&[0; 1024]);
    let limits = |unpacked_bytes_max| UnpackLimits { unpacked_bytes_max, ..UnpackLimits::default() };
    let bytes = tape.0.len() as u64;
    assert!(read(&tape.open_ended(), &limits(bytes)).is_ok());
    assert!(matches!(read(&tape.open_ended(), &limits(bytes - 1)), Err(UnpackError::UnpackedTooLarge { .. })));
}

#[test]
fn a_window_that_needs_much_memory_is_refused() {
    let noise: Vec<u8> = (0..20_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let tape = Tape::honest(&[("a", &noise)]).bytes(&[0; 1024]);
    let mut compressor = zstd::bulk::Compressor::new(1).unwrap();
    compressor.set_parameter(zstd::zstd_safe::CParameter::WindowLog(25)).unwrap();
    assert!(matches!(error(&compressor.compress(&tape.0).unwrap()), UnpackError::Zstd(_)));
    assert!(read(&tape.open_ended(), &UnpackLimits::default()).is_ok());
}

fn file_maps() -> impl Strategy<Value = BTreeMap<String, Vec<u8>>> {
    // Files and directories have different alphabets, so that no file is a directory.
    let path = ("([a-c]{1,3}/){0,3}", "[x-zé .]{1,8}[0-9]").prop_map(|(directories, name)| directories + &name);
    prop::collection::btree_map(path, prop::collection::vec(any::<u8>(), 0..1_500), 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_packed_is_read_back(files in file_maps()) {
        let packed = pack(&files);
        let contents = read(&packed.archive, &UnpackLimits::default()).unwrap();
        prop_assert_eq!(&contents.files, &files);
        prop_assert_eq!(&contents.manifest.files, &packed.files);
        prop_assert_eq!(pack(&contents.files), packed);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), tape in any::<bool>()) {
        let archive = if tape { compress(&bytes) } else { bytes };
        prop_assert!(read(&archive, &UnpackLimits::default()).is_err());
    }
}
