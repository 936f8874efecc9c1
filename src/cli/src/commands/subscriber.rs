//! `pilothouse subscriber …`

mod credential;

use crate::answer::{read, read_list};
use crate::arguments::{Confirm, Expiry, Mutation};
use crate::complete::{Live, live};
use crate::error::CliError;
use crate::exit::Exit;
use crate::listing;
use crate::render::{Details, Table, moment, relative, relative_or_none};
use crate::session::Session;
use crate::surroundings::Surroundings;
use contract::{Operation, Request, SubscriberBody, SubscriberList, SubscriberProgress};
use credential::{Credential, Wanted};
use domain::Slug;
use domain::subscriber::Start;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Instead of a file: the credential is printed.
const STDOUT: &str = "-";

#[derive(Clone, Debug, clap::Subcommand)]
pub enum Verb {
    /// Add a subscriber: a durable place in the journal, and the credential of the program that follows it
    ///
    /// With --project (or PILOTHOUSE_PROJECT) it hears that project alone; the dev file's project does not confine it. The
    /// credential is signed here; it ends when it expires, not when the subscriber is removed.
    #[command(
        after_help = "Example:\n  pilothouse subscriber add billing --project demo --expires 90d\n  pilothouse subscriber add audit --from-position 1"
    )]
    Add(Add),
    /// List subscribers, with how far each has come
    #[command(after_help = "Example:\n  pilothouse subscriber list")]
    List,
    /// Remove a subscriber's durable place; what it has acknowledged is forgotten
    #[command(after_help = "Example:\n  pilothouse subscriber remove billing --yes")]
    Remove {
        /// Name or id
        #[arg(add = live(Live::Subscribers))]
        subscriber: String,
        #[command(flatten)]
        confirm: Confirm,
        #[command(flatten)]
        mutation: Mutation,
    },
}

#[derive(Clone, Debug, clap::Args)]
pub struct Add {
    /// Lowercase letters, digits and inner hyphens; unique in the org
    name: Slug,
    #[command(flatten)]
    from: From,
    /// A time (RFC 3339), or how long from now: 12h, 90d [default: never]
    #[arg(long, value_name = "WHEN", value_parser = Expiry::parse)]
    expires: Option<Expiry>,
    /// Seed that signs subscribers [default: clients-subscribers.nk beside the operator's credential]
    #[arg(long, value_name = "FILE")]
    signing_key: Option<PathBuf>,
    /// Where the credential goes; `-` prints it instead of the answer [default: NAME.creds]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    mutation: Mutation,
}

/// The first fact that it gets; without any of these the first of all.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(multiple = false)]
pub struct From {
    /// Begin at this position of the journal [default: the first]
    #[arg(long, value_name = "POSITION", value_parser = clap::value_parser!(u64).range(1..))]
    from_position: Option<u64>,
    /// Begin with what was stored at this time (RFC 3339) or so long ago: 12h, 7d
    #[arg(long, value_name = "WHEN", value_parser = Expiry::parse)]
    from_time: Option<Expiry>,
    /// Begin with what comes next
    #[arg(long)]
    new: bool,
}

impl From {
    fn start(&self, now: Timestamp) -> Result<Start, CliError> {
        if let Some(position) = self.from_position {
            return Ok(Start::Position(position));
        }
        if let Some(time) = self.from_time {
            let too_far = || CliError::Usage("--from-time is too far away".to_owned());
            return time.before(now).map(Start::Time).ok_or_else(too_far);
        }
        Ok(if self.new { Start::New } else { Start::Beginning })
    }
}

pub(crate) async fn run(verb: Verb, session: &mut Session<'_>, around: &Surroundings) -> Result<Exit, CliError> {
    match verb {
        Verb::Add(wanted) => add(wanted, session, &around.here).await?,
        Verb::List => {
            let body = session.ask(Operation::SubscriberList, Request::default()).await?;
            listing::show(session, &body, "subscribers", table)?;
        }
        Verb::Remove { subscriber, confirm, mutation } => {
            session.console.confirm(&format!("Remove subscriber {subscriber}"), confirm.yes)?;
            let (id, idempotency_key) = (Some(subscriber.clone()), mutation.idempotency_key);
            let request = Request { id, idempotency_key, ..Request::default() };
            let body = session.ask(Operation::SubscriberRemove, request).await?;
            let text =
                format!("subscriber {subscriber} is removed; its credential hears plain messages until it expires");
            session.console.done(&body, &text)?;
        }
    }
    Ok(Exit::Ok)
}

/// The credential is written before anything is asked for, so that no lost answer costs the key: the repeat finds the file and
/// uses its key again. Where the control plane refuses, the file goes.
async fn add(wanted: Add, session: &mut Session<'_>, here: &Path) -> Result<(), CliError> {
    let now = session.console.now();
    let start = wanted.from.start(now)?;
    let far = || CliError::Usage("--expires is too far away".to_owned());
    let expires_at = wanted.expires.map(|expires| expires.from(now).ok_or_else(far)).transpose()?;
    let project = match session.target.project_is_explicit {
        true => Some(session.target.project()?.clone()),
        false => None,
    };
    let role = credential::signing_seed(session, wanted.signing_key.map(|path| here.join(path)))?;
    let listed = session.ask(Operation::SubscriberList, Request::default()).await?;
    let SubscriberList { org, .. } = read(&listed, "subscribers")?;
    let asked = Wanted { name: &wanted.name, org: &org, project: project.as_ref(), now, expires_at };
    let out = wanted.out.unwrap_or_else(|| format!("{}.creds", wanted.name).into());
    let printed = out == Path::new(STDOUT);
    let credential = match printed {
        true => Credential::mint(session, &role, &asked)?,
        false => Credential::at(&here.join(&out), session, &role, &asked)?,
    };
    let mut body = json!({"name": wanted.name, "public_key": credential.id, "start": start});
    if let Some(project) = project {
        body["project"] = project.as_str().into();
    }
    if let Some(time) = credential.expires_at {
        body["expires_at"] = time.to_string().into();
    }
    let request = Request { body, idempotency_key: wanted.mutation.idempotency_key, ..Request::default() };
    let body = match session.ask(Operation::SubscriberCreate, request).await {
        Ok(body) => body,
        Err(error) => {
            if !credential.withdraw_if_refused(&error) && !printed {
                let out = out.display();
                session
                    .console
                    .say(&format!("the credential is kept in {out}: the same command again goes on with it"));
            }
            return Err(error);
        }
    };
    if printed {
        return session.console.print_raw(&credential.text);
    }
    session.show(&body, created)?;
    let out = out.display();
    session.console.say(&format!("its credential is in {out}, for your eyes only: keep it, it cannot be made again"));
    Ok(())
}

fn created(body: &Value, now: Timestamp) -> Result<String, CliError> {
    let subscriber: SubscriberBody = read(body, "subscriber")?;
    let mut details = Details::default();
    details
        .add("id", &subscriber.id)
        .add("name", &subscriber.name)
        .add("facts", &subscriber.filter)
        .add("from", started(subscriber.start))
        .add("stream", &subscriber.stream)
        .add("consumer", &subscriber.durable)
        .add("domain", &subscriber.domain)
        .add("inbox prefix", &subscriber.inbox_prefix)
        .add("expires", subscriber.expires_at.map_or_else(|| "never".to_owned(), |time| moment(now, time)));
    Ok(details.to_string())
}

fn started(start: Start) -> String {
    match start {
        Start::Beginning => "the first fact".to_owned(),
        Start::New => "what comes next".to_owned(),
        Start::Position(position) => format!("position {position}"),
        Start::Time(time) => time.to_string(),
    }
}

fn table(body: &Value, now: Timestamp) -> Result<String, CliError> {
    let headings = ["NAME", "FACTS", "STATE", "LAG", "DELIVERED", "ACKNOWLEDGED", "OPEN", "EXPIRES", "CREATED"];
    let mut table = Table::new(headings);
    for subscriber in read_list::<SubscriberBody>(body, "subscribers")? {
        let told = |of: fn(&SubscriberProgress) -> u64| {
            subscriber.progress.as_ref().map_or_else(String::new, |progress| of(progress).to_string())
        };
        table.row([
            subscriber.name.clone(),
            subscriber.filter.clone(),
            state(&subscriber, now).to_owned(),
            told(|progress| progress.pending),
            told(|progress| progress.delivered),
            told(|progress| progress.acknowledged),
            told(|progress| progress.unacknowledged),
            relative_or_none(now, subscriber.expires_at),
            relative(now, subscriber.inserted_at),
        ]);
    }
    Ok(table.to_string())
}

fn state(subscriber: &SubscriberBody, now: Timestamp) -> &'static str {
    if subscriber.progress.is_none() {
        "missing"
    } else if subscriber.expires_at.is_some_and(|end| end <= now) {
        "expired"
    } else {
        "live"
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests;
