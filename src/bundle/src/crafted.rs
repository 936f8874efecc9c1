//! Archives that no packer would make, for the tests of the readers.

use crate::manifest::{FileEntry, Manifest, hex_sha256};
use crate::pack::{compress, header};
use tar::{EntryType, Header};

/// A tape that is put together block by block.
#[derive(Clone, Default)]
pub(crate) struct Tape(pub(crate) Vec<u8>);

impl Tape {
    pub(crate) fn file(self, path: &str, content: &[u8]) -> Tape {
        self.raw(header(path, content.len() as u64), content)
    }

    /// A manifest that tells the truth about these files.
    pub(crate) fn manifest(self, files: &[(&str, &[u8])]) -> Tape {
        let entry = |(path, content): &(&str, &[u8])| FileEntry {
            path: (*path).to_owned(),
            sha256: hex_sha256(content),
            bytes: content.len() as u64,
        };
        let manifest =
            Manifest { format: crate::manifest::FORMAT.to_owned(), files: files.iter().map(entry).collect() };
        self.file("manifest.json", &manifest.to_bytes())
    }

    /// A manifest and its files.
    pub(crate) fn honest(files: &[(&str, &[u8])]) -> Tape {
        files.iter().fold(Tape::default().manifest(files), |tape, (path, content)| tape.file(path, content))
    }

    pub(crate) fn changed(self, path: &str, content: &[u8], change: impl FnOnce(&mut Header)) -> Tape {
        let mut header = header(path, content.len() as u64);
        change(&mut header);
        header.set_cksum();
        self.raw(header, content)
    }

    pub(crate) fn kind(self, path: &str, kind: EntryType) -> Tape {
        self.changed(path, b"", |header| header.set_entry_type(kind))
    }

    pub(crate) fn raw(mut self, header: Header, content: &[u8]) -> Tape {
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Tape {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn open_ended(&self) -> Vec<u8> {
        compress(&self.0)
    }

    pub(crate) fn end(self) -> Vec<u8> {
        self.bytes(&[0; 1024]).open_ended()
    }
}
