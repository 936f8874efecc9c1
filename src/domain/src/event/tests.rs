//! The facts on the wire: golden bytes, and the catalogue that is made of them.

mod document;
mod goldens;
mod samples;

use std::path::{Path, PathBuf};

/// A path below this crate's directory.
fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Compares a file with what it should hold; with `UPDATE=1` it is rewritten first.
fn expect_file(path: &Path, expected: &str) {
    if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, expected).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == expected,
        "{} is not what the code says; UPDATE=1 cargo test -p domain rewrites it",
        path.display()
    );
}
