//! One connection to NATS and the admin requests on it.
//!
//! Requests go out on `pilothouse.admin.v1.<own nkey>.<noun>.<verb>`: the server lets nobody else publish there, which is how
//! the control plane knows who asks. A mutation carries an idempotency key and is sent a second time with the same key when no
//! answer came. NATS never answers a publish that it does not permit; it reports it on the side, and a waiting request is ended
//! by that report.

use crate::error::CliError;
use crate::target::Target;
use async_nats::{ConnectErrorKind, ConnectOptions, Event, RequestErrorKind, ServerError, Subscriber};
use contract::{Answer, Operation, Request, Route};
use data_encoding::HEXLOWER;
use std::error::Error;
use std::time::Duration;
use tokio::sync::watch;

const ADMIN_ROOT: &str = "pilothouse.admin.v1";
/// A connection that takes longer than this is one that is not made.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// How often a mutation is sent when no answer comes.
const MUTATION_SENDS_MAX: u32 = 2;
const COMPLAINTS_MAX: usize = 16;
/// Set by the server on every message that it republishes from the journal.
const SEQUENCE_HEADER: &str = "Nats-Sequence";

/// What the server said on the side, oldest first.
type Complaints = watch::Receiver<Vec<String>>;

pub(crate) struct Client {
    nats: async_nats::Client,
    public_key: String,
    inbox_prefix: String,
    url: String,
    timeout: Duration,
    complaints: Complaints,
    /// The newest position seen; reads demand views that hold it.
    position: u64,
}

impl Client {
    pub async fn connect(target: &Target) -> Result<Client, CliError> {
        let public_key = target.credential.public_key.clone();
        let inbox_prefix = format!("_INBOX_{public_key}");
        let (report, complaints) = watch::channel(Vec::new());
        let limit = CONNECT_TIME_MAX.min(target.timeout);
        let key = target.credential.key.clone();
        let options = ConnectOptions::with_jwt(target.credential.jwt.clone(), move |nonce| {
            let key = key.clone();
            async move { key.sign(&nonce).map_err(async_nats::AuthError::new) }
        });
        let options = match &target.ca_file {
            // Whoever names an authority does not want a server that offers no TLS.
            Some(path) => options.add_root_certificates(path.clone()).require_tls(true),
            None => options,
        };
        let connecting = options
            .name("pilothouse cli")
            .custom_inbox_prefix(&inbox_prefix)
            .connection_timeout(limit)
            .request_timeout(Some(target.timeout))
            .event_callback(move |event| {
                note(&report, event);
                std::future::ready(())
            })
            .connect(target.url.as_str());
        let url = target.shown_url();
        let nats = match tokio::time::timeout(limit, connecting).await {
            Ok(connected) => connected.map_err(|error| connect_error(&url, &error))?,
            Err(_) => return Err(CliError::Unreachable { url, cause: "timed out".to_owned() }),
        };
        Ok(Client { nats, public_key, inbox_prefix, url, timeout: target.timeout, complaints, position: 0 })
    }

    /// Asks and returns a success; an error answer is [`CliError::Answered`].
    pub async fn ask(&mut self, operation: Operation, mut request: Request) -> Result<Answer, CliError> {
        let subject = format!("{ADMIN_ROOT}.{}.{}", self.public_key, operation.name());
        let sends = if Route::of(operation).is_mutation() {
            if request.idempotency_key.is_none() {
                request.idempotency_key = Some(random_key()?);
            }
            MUTATION_SENDS_MAX
        } else {
            request.min_position = Some(self.position).filter(|position| *position > 0);
            1
        };
        let payload = rmp_serde::to_vec_named(&request)
            .map_err(|error| CliError::Usage(format!("the request cannot be encoded ({error})")))?;
        for _ in 0..sends {
            if let Some(reply) = self.send(&subject, &payload).await? {
                let answer = read_answer(&reply)?;
                self.saw(answer.position);
                return Ok(answer);
            }
        }
        let (url, waited) = (self.url.clone(), self.timeout);
        Err(match request.idempotency_key {
            Some(key) => CliError::MutationTimedOut { url, waited, key },
            None => CliError::ReadTimedOut { url, waited },
        })
    }

    /// Follows committed facts. Nothing is replayed: only what is committed from now on.
    pub async fn follow(&self, subject: &str) -> Result<Subscriber, CliError> {
        let failed = |cause: String| CliError::Connection { url: self.url.clone(), cause };
        let subscriber = self.nats.subscribe(subject.to_owned()).await.map_err(|error| failed(error.to_string()))?;
        self.nats.flush().await.map_err(|error| failed(error.to_string()))?;
        Ok(subscriber)
    }

    /// Ends when the server refuses the subscription on `subject`, or the credential itself.
    pub fn refusal(&self, subject: &str) -> impl Future<Output = CliError> + use<> {
        refusal(self.complaints.clone(), vec![subject.to_owned()], self.url.clone())
    }

    /// Later reads show at least this position.
    pub fn saw(&mut self, position: u64) {
        self.position = self.position.max(position);
    }

    pub fn connection(&self) -> async_nats::connection::State {
        self.nats.connection_state()
    }

    /// None: no answer in time.
    async fn send(&self, subject: &str, payload: &[u8]) -> Result<Option<Vec<u8>>, CliError> {
        let concerned = vec![subject.to_owned(), self.inbox_prefix.clone()];
        let replied = tokio::select! {
            biased;
            replied = self.nats.request(subject.to_owned(), payload.to_vec().into()) => replied,
            error = refusal(self.complaints.clone(), concerned, self.url.clone()) => return Err(error),
        };
        let url = || self.url.clone();
        match replied {
            Ok(message) => Ok(Some(message.payload.to_vec())),
            Err(error) => match error.kind() {
                RequestErrorKind::TimedOut => Ok(None),
                RequestErrorKind::NoResponders => Err(CliError::NobodyAnswers { url: url() }),
                RequestErrorKind::MaxPayloadExceeded => {
                    Err(CliError::Usage(format!("the request is larger than the server at {} accepts", url())))
                }
                RequestErrorKind::InvalidSubject | RequestErrorKind::Other => {
                    Err(CliError::Connection { url: url(), cause: error.to_string() })
                }
            },
        }
    }
}

/// The position of a fact that the journal published; none for anything else on the subject.
pub(crate) fn fact_position(message: &async_nats::Message) -> Option<u64> {
    message.headers.as_ref()?.get(SEQUENCE_HEADER)?.as_str().parse().ok()
}

fn note(report: &watch::Sender<Vec<String>>, event: Event) {
    let Event::ServerError(error) = event else { return };
    let text = match error {
        ServerError::AuthorizationViolation => "authorization violation".to_owned(),
        ServerError::SlowConsumer(_) => return,
        ServerError::Other(text) => text,
    };
    report.send_modify(|complaints| {
        if complaints.len() < COMPLAINTS_MAX {
            complaints.push(text);
        }
    });
}

async fn refusal(mut complaints: Complaints, subjects: Vec<String>, url: String) -> CliError {
    let concerns = |all: &Vec<String>| all.iter().find_map(|text| judge(text, &subjects, &url));
    if complaints.wait_for(|all| concerns(all).is_some()).await.is_err() {
        // The connection is gone for good; the waiting request learns that itself.
        std::future::pending::<()>().await;
    }
    let said = complaints.borrow().clone();
    concerns(&said).unwrap_or(CliError::Refused { url })
}

/// What the server's text means for whoever waits on these subjects. The protocol has no codes, only these texts.
fn judge(text: &str, subjects: &[String], url: &str) -> Option<CliError> {
    let lower = text.to_lowercase();
    if lower.starts_with("permissions violation") {
        return subjects
            .iter()
            .any(|subject| text.contains(subject.as_str()))
            .then(|| CliError::Forbidden(text.to_owned()));
    }
    let whole = lower.contains("authorization violation") || lower.contains("authentication");
    whole.then(|| CliError::Refused { url: url.to_owned() })
}

fn connect_error(url: &str, error: &async_nats::ConnectError) -> CliError {
    let url = url.to_owned();
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => CliError::Refused { url },
        ConnectErrorKind::ServerParse => CliError::Usage(format!("{url} is not the URL of a NATS server")),
        _ => {
            let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            CliError::Unreachable { url, cause }
        }
    }
}

fn read_answer(reply: &[u8]) -> Result<Answer, CliError> {
    let answer: Answer = rmp_serde::from_slice(reply).map_err(|error| CliError::Unreadable(error.to_string()))?;
    match answer.error() {
        Some(body) => Err(CliError::Answered(body)),
        None if answer.status >= 400 => Err(CliError::Unreadable(format!("status {}", answer.status))),
        None => Ok(answer),
    }
}

/// 16 random bytes as hex.
fn random_key() -> Result<String, CliError> {
    let failed = |source| CliError::System { action: "draw an idempotency key", source };
    let bytes = crate::files::random_bytes().map_err(failed)?;
    Ok(HEXLOWER.encode(&bytes))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use crate::globals::Output;
    use crate::testing::{Fake, on_server_with};
    use serde_json::json;

    #[test]
    fn a_complaint_ends_only_the_request_that_it_concerns() {
        let mine = ["pilothouse.admin.v1.UA.node.list".to_owned(), "_INBOX_UA".to_owned()];
        let exit = |text: &str| judge(text, &mine, "nats://x").map(|error| error.exit());
        assert_eq!(exit("Permissions Violation for Publish to \"pilothouse.admin.v1.UA.node.list\""), Some(Exit::Auth));
        assert_eq!(exit("Permissions Violation for Subscription to \"_INBOX_UA.x.*\""), Some(Exit::Auth));
        assert_eq!(exit("Permissions Violation for Subscription to \"fleet.*.demo.>\""), None);
        assert_eq!(exit("User Authentication Expired"), Some(Exit::Auth));
        assert_eq!(exit("Stale Connection"), None);
    }

    #[test]
    fn a_named_authority_demands_tls_and_its_own_certificate() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            std::fs::write(dir.path().join(name), text).unwrap();
            dir.path().join(name)
        };
        let make = || rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let (mine, other) = (make(), make());
        let (cert, key) = (write("cert.pem", &mine.cert.pem()), write("key.pem", &mine.signing_key.serialize_pem()));
        let stranger = write("other.pem", &other.cert.pem());
        let line = |ca: &std::path::Path| format!("project list --ca-file {}", ca.display());
        let answer = |_: Operation, _: &Request, _| Fake::ok(200, json!({"projects": []}), 1);
        let settings = format!("tls {{ cert_file: {:?}, key_file: {:?} }}", cert, key);
        on_server_with(&settings, async |server| {
            let control = ConnectOptions::new().add_root_certificates(cert.clone());
            let mut fake = Fake::start_as(&server, control, answer).await;
            assert_eq!(fake.run(Output::Table, &line(&cert), "").await.exit, Exit::Ok);
            for line in ["project list", &line(&stranger)] {
                let ran = fake.run(Output::Table, line, "").await;
                assert_eq!(ran.exit, Exit::Timeout, "{line}");
                assert!(ran.talk.contains("certificate"), "{line}: {}", ran.talk);
            }
        });
        on_server_with("", async |server| {
            let mut fake = Fake::start(&server, answer).await;
            let ran = fake.run(Output::Table, &line(&cert), "").await;
            assert_eq!((ran.exit, ran.data.as_str()), (Exit::Timeout, ""), "a server without TLS: {}", ran.talk);
        });
    }

    #[test]
    fn keys_are_random_hex() {
        let (a, b) = (random_key().unwrap(), random_key().unwrap());
        assert!(a != b && a.len() == 32 && a.bytes().all(|c| c.is_ascii_hexdigit()));
    }
}
