#![allow(clippy::unwrap_used)]
use super::*;
use crate::client::Trust;
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

fn settings(dir: &TempDir, host: Option<&str>, name: &str) -> EnrollSettings {
    EnrollSettings {
        urls: vec!["https://localhost:1".parse().unwrap()],
        trust: Trust::System,
        data_dir: dir.path().join("data"),
        host: host.map(|host| host.parse().unwrap()),
        host_from_name: crate::enroll::host_id_from_name(name),
        hostname: Some(name.to_owned()),
        join_token_file: None,
        again: false,
        timeout: None,
    }
}

fn open(settings: &EnrollSettings) -> Result<AuthFiles, AuthError> {
    AuthFiles::open(&DataDir::open(&settings.data_dir).unwrap(), settings)
}

fn given() -> (TempDir, AuthFiles) {
    let dir = tempfile::tempdir().unwrap();
    let files = open(&settings(&dir, Some("web-03"), "x")).unwrap();
    (dir, files)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_key_is_made_once_and_private() {
    let (dir, files) = given();
    assert!(files.known_key().unwrap().is_none());
    let key = files.key().unwrap().public_key();
    assert_eq!(files.key().unwrap().public_key(), key);
    let auth = dir.path().join("data/auth");
    assert_eq!((mode(&auth), mode(&auth.join("web-03.seed"))), (0o700, 0o600));
}

#[test]
fn a_damaged_seed_is_an_error_and_stays() {
    let (dir, files) = given();
    let path = dir.path().join("data/auth/web-03.seed");
    write_secret(&path, b"SUnonsense").unwrap();
    let error = files.key().err().unwrap().to_string();
    assert!(error.contains("web-03.seed") && !error.contains("SUnonsense"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"SUnonsense");
    write_secret(&files.credentials_path(), b"torn").unwrap();
    assert!(matches!(files.credential(), Err(AuthError::Credentials { .. })));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(files.key().err().unwrap().to_string().contains("chmod 600"));
}

#[test]
fn the_name_of_a_fetch_lasts_until_it_is_over() {
    let (_dir, files) = given();
    let under_way = Known { enrollment: Some("enr-1".into()), refused: None };
    files.save_known(&under_way).unwrap();
    let name = files.idempotency_key("enr-1").unwrap();
    files.save_known(&under_way).unwrap();
    assert_eq!(files.idempotency_key("enr-1").unwrap(), name, "a repetition");
    assert_eq!(files.known().unwrap(), under_way);
    assert_ne!(files.idempotency_key("enr-2").unwrap(), name);
    let again = files.idempotency_key("enr-1").unwrap();
    files.save_known(&Known::default()).unwrap();
    assert_ne!(files.idempotency_key("enr-1").unwrap(), again, "a renewal is no repetition");
}

#[test]
fn what_is_put_aside_is_kept_but_not_used() {
    let (dir, files) = given();
    let key = files.key().unwrap().public_key();
    files.save_credentials("creds", "enr-1").unwrap();
    files.put_aside().unwrap();
    files.put_aside().unwrap();
    assert!(files.credential().unwrap().is_none());
    assert_ne!(files.key().unwrap().public_key(), key);
    assert!(dir.path().join("data/auth/web-03.seed.revoked").exists());
}

#[test]
fn an_id_from_the_host_name_is_remembered_and_a_given_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let host = |host, name: &str| open(&settings(&dir, host, name)).map(|files| files.host.to_string());
    assert!(matches!(host(None, "localhost"), Err(AuthError::HostName(_))));
    assert_eq!(host(Some("given"), "a.example").unwrap(), "given");
    assert_eq!(host(None, "a.example").unwrap(), "a_example");
    assert_eq!(host(None, "renamed").unwrap(), "a_example");
    assert_eq!(host(Some("given"), "renamed").unwrap(), "given");
    write_secret(&dir.path().join("data/auth/host-id"), b"a/../b").unwrap();
    assert!(matches!(host(None, "renamed"), Err(AuthError::Damaged { .. })));
}
