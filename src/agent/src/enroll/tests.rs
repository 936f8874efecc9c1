//! The whole enrollment against a control plane on a loopback port.

#![allow(clippy::unwrap_used)]

mod node;

use super::machine::Refused;
use super::*;
use crate::client::Trust;
use crate::testing::enrollment::{ENROLLMENT, Reply, Server, curve_key};
use std::path::Path;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use trust::nats::{KeyKind, Mint, NatsKey, UserClaims, decode, parse_creds};

/// The waits of a test are this much shorter.
const RATE: u32 = 200;

async fn given() -> (TempDir, Server, EnrollSettings) {
    let (dir, server) = (tempfile::tempdir().unwrap(), Server::start().await);
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, &server.ca_pem).unwrap();
    let settings = EnrollSettings {
        urls: vec![server.url.parse().unwrap()],
        trust: Trust::File(ca),
        data_dir: dir.path().join("data"),
        host: Some("web-03".parse().unwrap()),
        host_from_name: Err("has no name".into()),
        hostname: Some("web-03.prod.internal".into()),
        join_token_file: None,
        again: false,
        timeout: None,
    };
    (dir, server, settings)
}

fn begin(settings: &EnrollSettings) -> JoinHandle<Result<Enrolled, EnrollError>> {
    let settings = settings.clone();
    tokio::spawn(async move {
        let data = Arc::new(DataDir::open(&settings.data_dir)?);
        let mut enroller = Enroller::open(settings, data)?;
        enroller.clock_rate = RATE;
        enroller.obtain().await
    })
}

async fn obtain(settings: &EnrollSettings) -> Result<Enrolled, EnrollError> {
    begin(settings).await.unwrap()
}

fn refused(outcome: Result<Enrolled, EnrollError>) -> String {
    match outcome {
        Err(EnrollError::Refused(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn failed(outcome: Result<Enrolled, EnrollError>) -> String {
    match outcome {
        Err(EnrollError::Failed(why)) => why,
        other => panic!("{other:?}"),
    }
}

/// Challenges and submissions.
fn counts(server: &Server) -> (usize, usize) {
    let told = server.told();
    (told.count("nonce"), told.count("enroll"))
}

fn file(settings: &EnrollSettings, kind: &str) -> String {
    std::fs::read_to_string(settings.data_dir.join(format!("auth/web-03.{kind}"))).unwrap()
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approval_on_the_stream_brings_credentials() {
    let (dir, server, mut settings) = given().await;
    let token = dir.path().join("token");
    runtime::files::write_secret(&token, b"the-token\n").unwrap();
    settings.join_token_file = Some(token);
    let task = begin(&settings);
    server.until(|told| told.count("stream") == 1).await;
    server.becomes("approved");
    let enrolled = task.await.unwrap().unwrap();
    let text = std::fs::read_to_string(&enrolled.credentials).unwrap();
    let read = parse_creds(&text).unwrap();
    assert_eq!((read.public_key.as_str(), enrolled.new), (enrolled.public_key.as_str(), true));
    assert_eq!((read.seed, mode(&enrolled.credentials)), (file(&settings, "seed"), 0o600));
    let told = server.told();
    let words = ["nonce", "enroll", "status", "stream", "creds"].map(|word| told.count(word));
    assert_eq!(words, [1, 1, 0, 1, 1]);
    let body = &told.newest("enroll").body;
    assert_eq!(body["hostname"], "web-03.prod.internal");
    assert_eq!(body["curve_public_key"], curve_key(&file(&settings, "seed")));
    assert_eq!(body["metadata"]["os"], "linux");
    for word in ["nonce", "enroll", "stream", "creds"] {
        let header = told.newest(word).headers.get("x-pilothouse-join-token").map(String::as_str);
        assert_eq!(header, Some("the-token"), "{word}");
    }
    assert_eq!(told.newest("stream").headers["accept"], "text/event-stream");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_stream_it_asks_until_it_is_approved() {
    let (_dir, server, settings) = given().await;
    let html = Reply::Raw(200, "text/html", "<html>".into());
    server.told().always.insert("stream", html);
    let task = begin(&settings);
    server.until(|told| told.count("status") >= 3).await;
    server.becomes("approved");
    assert!(task.await.unwrap().unwrap().new);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_that_are_there_are_used_and_nobody_is_asked() {
    let (_dir, server, settings) = given().await;
    server.told().begins = "approved";
    let first = obtain(&settings).await.unwrap();
    let calls = server.told().seen.len();
    let again = obtain(&settings).await.unwrap();
    assert_eq!(again, Enrolled { new: false, ..first.clone() });
    // Those that an operator brought are as good, also without a seed.
    std::fs::remove_file(settings.data_dir.join("auth/web-03.seed")).unwrap();
    let unreachable = EnrollSettings { urls: vec!["https://127.0.0.1:1".parse().unwrap()], ..settings.clone() };
    assert_eq!(obtain(&unreachable).await.unwrap(), again);
    assert_eq!(server.told().seen.len(), calls);
    std::fs::write(&first.credentials, "torn").unwrap();
    assert!(matches!(obtain(&settings).await, Err(EnrollError::Auth(AuthError::Credentials { .. }))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejection_ends_it_also_after_a_restart_until_told_otherwise() {
    let (_dir, server, mut settings) = given().await;
    let task = begin(&settings);
    server.until(|told| told.count("stream") == 1).await;
    server.becomes("rejected");
    assert!(refused(task.await.unwrap()).contains("--enroll-again"));
    let calls = server.told().seen.len();
    refused(obtain(&settings).await);
    assert_eq!(server.told().seen.len(), calls, "a supervisor that starts it again floods nobody");
    settings.again = true;
    server.told().begins = "approved";
    let seed = file(&settings, "seed");
    obtain(&settings).await.unwrap();
    assert_eq!(file(&settings, "seed"), seed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_revocation_a_new_key_enrolls_if_told_to() {
    let (_dir, server, mut settings) = given().await;
    server.told().begins = "revoked";
    refused(obtain(&settings).await);
    let key = server.told().host.clone();
    settings.again = true;
    server.told().begins = "approved";
    let enrolled = obtain(&settings).await.unwrap();
    assert_ne!(server.told().host, key);
    assert_eq!(server.told().host.as_ref().unwrap().1, enrolled.public_key);
    // Credentials that are good still are left alone, however often it is told to.
    assert_eq!(obtain(&settings).await.unwrap(), Enrolled { new: false, ..enrolled.clone() });
    server.becomes("revoked");
    assert_ne!(obtain(&settings).await.unwrap().public_key, enrolled.public_key);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_server_is_left_alone_as_long_as_it_asks_for() {
    let (_dir, server, settings) = given().await;
    let began = std::time::Instant::now();
    server.told().begins = "approved";
    server.told().reply("nonce", Reply::Error(429, "rate limit exceeded", Some(100)));
    obtain(&settings).await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(100) / RATE);
    assert_eq!(server.told().count("nonce"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_server_serves_when_one_is_away_or_broken() {
    let (_dir, server, mut settings) = given().await;
    // Nobody listens on the first; the second is trusted but broken in every way that there is.
    settings.urls.insert(0, "https://127.0.0.1:1".parse().unwrap());
    server.told().begins = "approved";
    let huge = format!("{{\"challenge_id\":\"{}\"}}", "x".repeat(2 * 1024 * 1024));
    let broken = [
        Reply::Error(503, "later", None),
        Reply::Lost,
        Reply::Raw(200, "application/json", huge),
        Reply::Raw(200, "application/json", "[]".into()),
        Reply::Raw(200, "application/json", r#"{"challenge_id":"chl-1","challenge":"AAAA"}"#.into()),
        Reply::Raw(502, "text/html", "<html>\u{1b}[31m".into()),
    ];
    broken.into_iter().for_each(|reply| server.told().reply("nonce", reply));
    obtain(&settings).await.unwrap();
    assert_eq!(server.told().count("nonce"), 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_challenge_that_is_refused_is_replaced_but_not_for_ever() {
    let (_dir, server, settings) = given().await;
    let refusal = Reply::Error(401, "challenge verification failed", None);
    server.told().begins = "approved";
    (0..2).for_each(|_| server.told().reply("enroll", refusal.clone()));
    obtain(&settings).await.unwrap();
    assert_eq!(counts(&server), (3, 3));
    let (_dir, server, settings) = given().await;
    server.told().always.insert("enroll", refusal);
    assert!(failed(obtain(&settings).await).contains("3 times"));
    assert_eq!(counts(&server), (3, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_whose_answer_was_lost_are_asked_for_as_the_same() {
    let (_dir, server, settings) = given().await;
    server.told().begins = "approved";
    server.told().reply("creds", Reply::Lost);
    obtain(&settings).await.unwrap();
    let told = server.told();
    let keys: Vec<_> = told.seen.iter().filter_map(|seen| seen.headers.get("idempotency-key")).collect();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_before_the_answer_is_outlived_too() {
    let (_dir, server, settings) = given().await;
    server.told().begins = "approved";
    server.told().always.insert("creds", Reply::Lost);
    let task = begin(&settings);
    server.until(|told| told.count("creds") == 1).await;
    task.abort();
    let _ = task.await;
    server.told().always.clear();
    let enrollments = server.told().count("enroll");
    obtain(&settings).await.unwrap();
    assert_eq!(server.told().count("enroll"), enrollments, "no second enrollment");
    assert_eq!(server.state(), "issued");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_for_another_key_are_never_kept() {
    let (_dir, server, settings) = given().await;
    server.told().begins = "approved";
    server.told().foreign = Some(NatsKey::generate(KeyKind::User).public_key());
    assert!(failed(obtain(&settings).await).contains("another key"));
    assert!(!settings.data_dir.join("auth/web-03.creds").exists());
    let (_dir, server, settings) = given().await;
    server.told().begins = "approved";
    server.told().lifetime_s = -1;
    assert!(failed(obtain(&settings).await).contains("ended"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_streams_and_states_are_borne() {
    let (_dir, server, settings) = given().await;
    let frame = |data: &str| Reply::Raw(200, "text/event-stream", format!("event: state\ndata: {data}\n\n"));
    let hostile = [
        Reply::Endless(": heartbeat\n\n"),
        Reply::Endless("data"),
        frame("{}"),
        frame(r#"{"id":"enr-other","peel_id":"web-03","state":"approved"}"#),
        frame(r#"{"id":"enr-2JFKABCD1234567890abcdefghi","peel_id":"web-03","state":"root"}"#),
    ];
    let (mut streams, task) = (hostile.len(), begin(&settings));
    hostile.into_iter().for_each(|reply| server.told().reply("stream", reply));
    let strange = Reply::Raw(200, "application/json", r#"{"id":7,"peel_id":"web-03","state":"approved"}"#.into());
    server.told().reply("status", strange);
    server.until(|told| told.count("status") >= 2).await;
    server.becomes("approved");
    task.await.unwrap().unwrap();
    streams -= server.told().replies["stream"].len();
    assert!(streams >= 3, "{streams} were met");
    // An id that would have something else signed is refused.
    let (_dir, server, settings) = given().await;
    let nonce = r#"{"id":"Wu4z6fIoKFU0ktg","peel_id":"web-03","state":"approved"}"#;
    server.told().reply("enroll", Reply::Raw(201, "application/json", nonce.into()));
    server.told().begins = "approved";
    obtain(&settings).await.unwrap();
    assert!(server.told().newest("creds").route.contains(ENROLLMENT));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_longer_than_told_and_the_next_start_goes_on() {
    let (_dir, server, mut settings) = given().await;
    settings.timeout = Some(Duration::from_millis(300));
    assert!(matches!(obtain(&settings).await, Err(EnrollError::Undecided { .. })));
    server.becomes("approved");
    settings.timeout = None;
    obtain(&settings).await.unwrap();
    assert_eq!(server.told().count("enroll"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_was_named_is_trusted() {
    let (dir, server, settings) = given().await;
    server.told().begins = "approved";
    let with = |trust: Trust, n: u32| {
        let mut settings = settings.clone();
        (settings.trust, settings.data_dir) = (trust, dir.path().join(n.to_string()));
        settings.timeout = Some(Duration::from_millis(500));
        async move { obtain(&settings).await }
    };
    let pinned = |text: &str| Trust::Pinned(text.parse().unwrap());
    with(pinned(&server.ca_fingerprint), 1).await.unwrap();
    with(pinned(&server.own_fingerprint), 2).await.unwrap();
    let calls = server.told().seen.len();
    let other = Server::start().await;
    let ca = dir.path().join("other.pem");
    std::fs::write(&ca, &other.ca_pem).unwrap();
    for (n, trust) in [(3, pinned(&other.ca_fingerprint)), (4, Trust::File(ca))] {
        assert!(matches!(with(trust, n).await, Err(EnrollError::Undecided { .. })), "{n}");
    }
    let misnamed: hyper::Uri = server.url.replace("127.0.0.1", "localhost").parse().unwrap();
    let misnamed = EnrollSettings { urls: vec![misnamed], ..settings.clone() };
    for (n, text) in [(5, &server.ca_fingerprint), (6, &server.own_fingerprint)] {
        let settings = EnrollSettings {
            trust: pinned(text),
            data_dir: dir.path().join(n.to_string()),
            timeout: Some(Duration::from_millis(500)),
            ..misnamed.clone()
        };
        assert!(matches!(obtain(&settings).await, Err(EnrollError::Undecided { .. })), "{n}");
    }
    assert_eq!(server.told().seen.len(), calls, "nothing was sent");
}

/// Credentials of this host that began before and end after now, in seconds.
fn credentials(settings: &EnrollSettings, began_s: i64, ends_s: i64) -> String {
    let key = NatsKey::from_seed(KeyKind::User, &file(settings, "seed")).unwrap();
    let now_s = Timestamp::now().as_second();
    let mint = Mint { name: "web-03", issued_at: now_s - began_s, expires_at: Some(now_s + ends_s) };
    let account = NatsKey::generate(KeyKind::Account);
    let claims = trust::nats::Body::User(UserClaims::scoped(&account.public_key()));
    trust::nats::creds(&trust::nats::sign(&account, &key.public_key(), mint, claims), &key.seed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_are_renewed_in_their_last_third_with_the_same_key() {
    let (_dir, server, settings) = given().await;
    server.told().begins = "approved";
    let enrolled = obtain(&settings).await.unwrap();
    let old = credentials(&settings, 900, 100);
    runtime::files::write_secret(&enrolled.credentials, old.as_bytes()).unwrap();
    let data = Arc::new(DataDir::open(&settings.data_dir).unwrap());
    let enroller = Enroller::open(settings.clone(), data).unwrap();
    let renewed = || std::fs::read_to_string(&enrolled.credentials).unwrap() != old;
    tokio::select! {
        never = enroller.keep() => match never {},
        () = crate::testing::until(renewed, || "the old ones".into()) => {}
    }
    let read = parse_creds(&std::fs::read_to_string(&enrolled.credentials).unwrap()).unwrap();
    assert_eq!(read.public_key, enrolled.public_key);
    assert!(decode(&read.jwt).unwrap().exp.unwrap() > Timestamp::now().as_second() + 86_400);
    let told = server.told();
    let keys: Vec<_> = told.seen.iter().filter_map(|seen| seen.headers.get("idempotency-key")).collect();
    assert_eq!(keys.len(), 2);
    assert_ne!(keys[0], keys[1], "a renewal is no repetition");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_that_have_ended_are_replaced() {
    let (_dir, server, settings) = given().await;
    server.told().begins = "approved";
    let enrolled = obtain(&settings).await.unwrap();
    runtime::files::write_secret(&enrolled.credentials, credentials(&settings, 900, -1).as_bytes()).unwrap();
    assert!(obtain(&settings).await.unwrap().new);
    assert_eq!(server.told().count("creds"), 2);
}

#[tokio::test]
async fn what_is_left_of_an_enrollment_that_is_over_is_cleared() {
    let (_dir, server, settings) = given().await;
    server.told().begins = "approved";
    obtain(&settings).await.unwrap();
    let data = DataDir::open(&settings.data_dir).unwrap();
    let files = AuthFiles::open(&data, &settings).unwrap();
    files.save_known(&Known { enrollment: Some(ENROLLMENT.into()), refused: None }).unwrap();
    files.idempotency_key(ENROLLMENT).unwrap();
    drop(data);
    assert!(!obtain(&settings).await.unwrap().new);
    assert_eq!(files.known().unwrap(), Known::default());
    // A refusal is remembered beside credentials that are still good.
    let refused = Known { enrollment: None, refused: Some(Refused::Revoked) };
    files.save_known(&refused).unwrap();
    assert!(!obtain(&settings).await.unwrap().new);
    assert_eq!(files.known().unwrap(), refused);
}
