//! An installation on a real nats-server: who may log in, and what each user may do.
#![allow(clippy::unwrap_used)]

use anyhow::{Context, Result, bail};
use async_nats::{Client, ConnectOptions, Event, jetstream};
use futures_util::StreamExt;
use jiff::Timestamp;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use trust::nats::{
    Body, Claims, HostSigner, Installation, KeyKind, Mint, NatsKey, NewInstallation, Permissions, UserClaims, creds,
    decode, inbox_prefix, next_issue_time, operator_user, parse_creds, sign,
};

const DEADLINE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(5);

/// A server of its own; killed when dropped.
struct Server {
    child: Child,
    url: String,
    dir: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn nats_server() -> PathBuf {
    if let Some(path) = std::env::var_os("PILOTHOUSE_NATS_SERVER") {
        return path.into();
    }
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/nats-server");
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&on_path).map(|dir| dir.join("nats-server")).find(|path| path.is_file());
    found.unwrap_or(fetched)
}

async fn start(installation: &Installation) -> Result<Server> {
    let dir = tempfile::tempdir()?;
    let path = |name: &str| dir.path().join(name).display().to_string();
    let config = format!(
        "listen: 127.0.0.1:-1\njetstream {{ store_dir: \"{}\" }}\n{}",
        path("jetstream"),
        installation.server_config(&path("accounts"))
    );
    std::fs::write(path("server.conf"), config)?;
    let mut server = Server { child: spawn(dir.path())?, url: String::new(), dir };
    server.ready().await?;
    Ok(server)
}

fn spawn(dir: &Path) -> Result<Child> {
    let program = nats_server();
    let log = std::fs::File::create(dir.join("log"))?;
    Command::new(&program)
        .arg("-c")
        .arg(dir.join("server.conf"))
        .arg("--ports_file_dir")
        .arg(dir)
        .stdout(log.try_clone()?)
        .stderr(log)
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {}; run `cargo xtask fetch` to get a nats-server", program.display()))
}

impl Server {
    /// Kills it and starts it again over the same directory and configuration.
    async fn restart(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        self.child = spawn(self.dir.path())?;
        self.ready().await
    }

    /// Waits for the file that names the port which the server chose.
    async fn ready(&mut self) -> Result<()> {
        let program = nats_server();
        let name = format!("{}_{}.ports", program.file_name().unwrap().display(), self.child.id());
        let started = Instant::now();
        loop {
            let read = std::fs::read_to_string(self.dir.path().join(&name)).unwrap_or_default();
            if let Some((url, _)) = read.split_once("\"nats://").and_then(|(_, rest)| rest.split_once('"')) {
                self.url = format!("nats://{url}");
                return Ok(());
            }
            if started.elapsed() > DEADLINE || self.child.try_wait()?.is_some() {
                bail!("nats-server does not start: {}", std::fs::read_to_string(self.dir.path().join("log"))?);
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// A connection and what the server complained about on it.
struct Connection {
    client: Client,
    complaints: Arc<Mutex<Vec<String>>>,
}

async fn connect(server: &Server, creds: &str) -> Result<Connection> {
    let complaints: Arc<Mutex<Vec<String>>> = Arc::default();
    let heard = complaints.clone();
    let client = ConnectOptions::with_credentials(creds)?
        .custom_inbox_prefix(inbox_prefix(&parse_creds(creds)?.public_key))
        .max_reconnects(1)
        .event_callback(move |event| {
            let heard = heard.clone();
            async move {
                if let Event::ServerError(error) = event {
                    heard.lock().unwrap().push(error.to_string());
                }
            }
        })
        .connect(&server.url)
        .await?;
    Ok(Connection { client, complaints })
}

impl Connection {
    async fn publish_is_denied(&self, subject: &str) -> Result<()> {
        self.client.publish(subject.to_owned(), "x".into()).await?;
        self.is_denied(&format!("Publish to \"{subject}\"")).await
    }

    async fn subscribe_is_denied(&self, subject: &str) -> Result<()> {
        let _subscriber = self.client.subscribe(subject.to_owned()).await?;
        self.is_denied(&format!("Subscription to \"{subject}\"")).await
    }

    async fn is_denied(&self, what: &str) -> Result<()> {
        self.client.flush().await?;
        let started = Instant::now();
        loop {
            let heard = self.complaints.lock().unwrap().clone();
            if heard.iter().any(|complaint| complaint.to_lowercase().contains(&what.to_lowercase())) {
                return Ok(());
            }
            if started.elapsed() > DEADLINE {
                bail!("no denial of {what}; heard {heard:?}");
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

fn subjects(subjects: &[&str]) -> Vec<String> {
    subjects.iter().map(|&subject| subject.into()).collect()
}

fn installation() -> Installation {
    Installation::create(NewInstallation {
        name: "test".into(),
        now: Timestamp::now(),
        runtime: Permissions {
            publish: subjects(&["$JS.API.>", "append.>", "_R_.>"]),
            subscribe: subjects(&["{inbox}.>", "pilothouse.admin.v1.>", "fleet.>"]),
        },
        provisioning: Permissions { publish: subjects(&["$JS.API.>"]), subscribe: subjects(&["{inbox}.>"]) },
        monitor: Permissions { publish: subjects(&["$SYS.REQ.>"]), subscribe: subjects(&["{inbox}.>"]) },
        accounts: Permissions { publish: subjects(&["$SYS.REQ.CLAIMS.UPDATE"]), subscribe: subjects(&["{inbox}.>"]) },
    })
}

/// Another operator of the same installation.
fn another_operator(made: &Installation) -> (String, String) {
    let seed = &made.seeds[Installation::SEED_CLIENTS_OPERATORS];
    operator_user(seed, &made.clients_account_id, "second", Timestamp::now()).unwrap()
}

#[tokio::test]
async fn each_user_may_do_its_own() -> Result<()> {
    let made = installation();
    let server = start(&made).await?;
    let service = connect(&server, &made.creds[Installation::CREDS_SERVICE]).await?;
    jetstream::new(service.client.clone()).query_account().await?;
    let provisioning = connect(&server, &made.creds[Installation::CREDS_PROVISIONING]).await?;
    jetstream::new(provisioning.client.clone()).query_account().await?;
    let monitor = connect(&server, &made.creds[Installation::CREDS_MONITOR]).await?;
    monitor.client.request("$SYS.REQ.SERVER.PING", "".into()).await?;
    monitor.subscribe_is_denied("$SYS.ACCOUNT.>").await?;

    let (id, text) = another_operator(&made);
    let admin_id = parse_creds(&made.creds[Installation::CREDS_ADMIN])?.public_key;
    let operator = connect(&server, &text).await?;
    let mut requests = service.client.subscribe("pilothouse.admin.v1.>").await?;
    service.client.flush().await?;

    // What is denied never arrives: the first thing the service sees is what was allowed.
    operator.publish_is_denied(&format!("pilothouse.admin.v1.{admin_id}.node.list")).await?;
    operator.publish_is_denied("fleet.x").await?;
    operator.publish_is_denied("append.x").await?;
    operator.publish_is_denied("$JS.API.INFO").await?;
    operator.publish_is_denied("$SYS.REQ.SERVER.PING").await?;
    operator.publish_is_denied(&format!("{}.x", inbox_prefix(&admin_id))).await?;
    operator.subscribe_is_denied(&format!("{}.>", inbox_prefix(&admin_id))).await?;
    operator.subscribe_is_denied("pilothouse.admin.v1.>").await?;
    operator.subscribe_is_denied(">").await?;
    let own = format!("pilothouse.admin.v1.{id}.node.list");
    let (answer, ()) = tokio::join!(operator.client.request(own.clone(), "ask".into()), async {
        let request = requests.next().await.unwrap();
        assert_eq!((request.subject.as_str(), &request.payload[..]), (own.as_str(), &b"ask"[..]));
        service.client.publish(request.reply.unwrap(), "answer".into()).await.unwrap();
    });
    assert_eq!(&answer?.payload[..], b"answer");
    let _facts = operator.client.subscribe("fleet.>").await?;
    operator.client.flush().await?;
    let heard = operator.complaints.lock().unwrap().join("\n").to_lowercase();
    assert!(!heard.contains("subscription to \"fleet.>\""), "{heard}");
    service.publish_is_denied("fleet.x").await
}

fn signer(made: &Installation) -> HostSigner {
    HostSigner::new(&made.seeds[Installation::SEED_CLIENTS_NODES], &made.clients_account_jwt).unwrap()
}

/// An enrolled host: its public key, and the text of a credentials file.
fn host(made: &Installation, id: &str, lifetime_s: i64) -> (String, String) {
    let (user, now_s) = (NatsKey::generate(KeyKind::User), Timestamp::now().as_second());
    let jwt = signer(made).sign(id, &user.public_key(), now_s, now_s + lifetime_s);
    (user.public_key(), creds(&jwt, &user.seed()))
}

#[tokio::test]
async fn a_host_speaks_under_its_own_name_only() -> Result<()> {
    let made = installation();
    let server = start(&made).await?;
    let (key, text) = host(&made, "web-01", 60);
    let one = connect(&server, &text).await?;
    let (other_key, other) = host(&made, "web-02", 60);
    let other = connect(&server, &other).await?;
    for subject in [
        "pilothouse.node.v1.web-02.facts".to_owned(),
        "pilothouse.node.v1.web-01".to_owned(),
        format!("pilothouse.admin.v1.{key}.node.list"),
        "append.x".to_owned(),
        "fleet.x".to_owned(),
        "$JS.API.INFO".to_owned(),
        "$JS.API.CONSUMER.CREATE.KV_credentials.x".to_owned(),
        "$KV.credentials.x".to_owned(),
        "$SYS.REQ.USER.INFO".to_owned(),
        "$SRV.PING".to_owned(),
        format!("{}.x", inbox_prefix(&other_key)),
        "_INBOX.x".to_owned(),
    ] {
        one.publish_is_denied(&subject).await?;
    }
    for subject in [
        "pilothouse.node.v1.web-02.>".to_owned(),
        "pilothouse.node.v1.>".to_owned(),
        format!("{}.>", inbox_prefix(&other_key)),
        "_INBOX.>".to_owned(),
        "fleet.>".to_owned(),
        "$SYS.>".to_owned(),
        ">".to_owned(),
    ] {
        one.subscribe_is_denied(&subject).await?;
    }
    let mut own = other.client.subscribe("pilothouse.node.v1.web-02.>").await?;
    other.client.flush().await?;
    other.client.publish("pilothouse.node.v1.web-02.facts", "x".into()).await?;
    let heard = tokio::time::timeout(DEADLINE, own.next()).await?.context("its own subject")?;
    assert_eq!(heard.subject.as_str(), "pilothouse.node.v1.web-02.facts");
    Ok(())
}

#[tokio::test]
async fn a_hosts_credentials_end_and_are_of_its_role_only() -> Result<()> {
    let made = installation();
    let server = start(&made).await?;
    let (_, text) = host(&made, "web-01", 2);
    let short = connect(&server, &text).await?;
    let started = Instant::now();
    while !short.complaints.lock().unwrap().iter().any(|complaint| complaint.to_lowercase().contains("expired")) {
        assert!(started.elapsed() < DEADLINE, "heard {:?}", short.complaints.lock().unwrap());
        tokio::time::sleep(POLL).await;
    }
    // The server counts in whole seconds.
    while connect(&server, &text).await.is_ok() {
        assert!(started.elapsed() < DEADLINE, "what has ended logs in");
    }
    for seed in [Installation::SEED_CLIENTS_OPERATORS, Installation::SEED_FLEET_SIGNING, Installation::SEED_CLIENTS] {
        assert!(HostSigner::new(&made.seeds[seed], &made.clients_account_jwt).is_err(), "{seed}");
    }
    assert!(HostSigner::new(&made.seeds[Installation::SEED_CLIENTS_NODES], &made.fleet_account_jwt).is_err());
    assert_eq!(signer(&made).account_id(), made.clients_account_id);
    assert_eq!(signer(&made).sign("a", "U", 1, 2), signer(&made).sign("a", "U", 1, 2), "the same again");
    Ok(())
}

#[tokio::test]
async fn strangers_and_self_made_rights_are_refused() -> Result<()> {
    let made = installation();
    let server = start(&made).await?;
    let (foreign, user) = (NatsKey::generate(KeyKind::Account), NatsKey::generate(KeyKind::User));
    let signed_by = |key: &NatsKey, claims: UserClaims| {
        let mint = Mint { name: "eve", issued_at: Timestamp::now().as_second(), expires_at: None };
        creds(&sign(key, &user.public_key(), mint, Body::User(claims)), &user.seed())
    };
    let scoped = || UserClaims::scoped(&made.clients_account_id);
    let plain = || UserClaims::plain(&made.clients_account_id, Default::default(), Default::default());
    let key = |name: &str| NatsKey::from_seed(KeyKind::Account, &made.seeds[name]).unwrap();
    assert!(connect(&server, &signed_by(&foreign, scoped())).await.is_err(), "a foreign key");
    assert!(connect(&server, &signed_by(&foreign, plain())).await.is_err(), "a foreign key");
    let identity = key(Installation::SEED_CLIENTS);
    assert!(connect(&server, &signed_by(&identity, plain())).await.is_err(), "the account's identity key");
    let system = key(Installation::SEED_SYSTEM_SIGNING);
    assert!(connect(&server, &signed_by(&system, plain())).await.is_err(), "another account's key");
    let operators = key(Installation::SEED_CLIENTS_OPERATORS);
    assert!(connect(&server, &signed_by(&operators, plain())).await.is_err(), "an operator with rights of its own");
    assert!(connect(&server, &signed_by(&operators, scoped())).await.is_ok());
    let stolen = creds(&parse_creds(&signed_by(&operators, scoped()))?.jwt, &NatsKey::generate(KeyKind::User).seed());
    let login = ConnectOptions::with_credentials(&stolen)?.max_reconnects(1).connect(&server.url).await;
    assert!(login.is_err(), "somebody else's JWT");
    Ok(())
}

#[tokio::test]
async fn a_revoked_operator_is_thrown_out_for_good() -> Result<()> {
    let made = installation();
    let mut server = start(&made).await?;
    let monitor = connect(&server, &made.creds[Installation::CREDS_MONITOR]).await?;
    let (id, text) = another_operator(&made);
    let operator = connect(&server, &text).await?;

    let Claims { iat, nats: Body::Account(mut account), name, .. } = decode(&made.clients_account_jwt)? else {
        bail!("not an account")
    };
    let issued_at = next_issue_time(iat, Timestamp::now());
    account.revocations.insert(id, issued_at);
    let signing = NatsKey::from_seed(KeyKind::Operator, &made.seeds[Installation::SEED_OPERATOR_SIGNING])?;
    let mint = Mint { name: &name, issued_at, expires_at: None };
    let jwt = sign(&signing, &made.clients_account_id, mint, Body::Account(account));
    let answer = monitor.client.request("$SYS.REQ.CLAIMS.UPDATE", jwt.into()).await?;
    assert!(answer.payload.windows(10).any(|part| part == b"\"code\":200"), "{:?}", answer.payload);

    let started = Instant::now();
    while !operator.complaints.lock().unwrap().iter().any(|complaint| complaint.contains("Revoked")) {
        assert!(started.elapsed() < DEADLINE, "heard {:?}", operator.complaints.lock().unwrap());
        tokio::time::sleep(POLL).await;
    }
    assert!(connect(&server, &text).await.is_err(), "it cannot come back");
    connect(&server, &made.creds[Installation::CREDS_ADMIN]).await?;
    // The configuration still has the account's first JWT; what the server kept is newer.
    server.restart().await?;
    assert!(connect(&server, &text).await.is_err(), "it cannot come back after a restart either");
    connect(&server, &made.creds[Installation::CREDS_ADMIN]).await?;
    Ok(())
}
