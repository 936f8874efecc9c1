//! `pilothouse project …`

use crate::answer::{read, read_list};
use crate::arguments::Mutation;
use crate::complete::{Live, live};
use crate::error::CliError;
use crate::exit::Exit;
use crate::listing;
use crate::render::{Details, Table, moment, relative};
use crate::session::Session;
use contract::{Operation, ProjectBody, Request};
use domain::Slug;
use domain::project::Registration;
use jiff::Timestamp;
use serde_json::{Value, json};

#[derive(Clone, Debug, clap::Subcommand)]
pub enum Verb {
    /// Create a project
    #[command(
        after_help = "Example:\n  pilothouse project create edge --name \"Edge proxies\"\n  pilothouse project create lab --registration open"
    )]
    Create {
        /// Lowercase letters, digits and inner hyphens; never changes
        slug: Slug,
        /// What people call it [default: the slug]
        #[arg(long)]
        name: Option<String>,
        /// Who may register nodes: open (anybody), token (with a join token), enrolled [default: token; in dev mode open]
        #[arg(long, value_name = "POLICY", value_parser = parse_registration)]
        registration: Option<Registration>,
        #[command(flatten)]
        mutation: Mutation,
    },
    /// Change who may register nodes; nodes that are registered stay
    #[command(after_help = "Example:\n  pilothouse project update edge --registration token")]
    Update {
        /// Slug of the project
        #[arg(add = live(Live::Projects))]
        slug: Slug,
        /// open (anybody), token (with a join token) or enrolled
        #[arg(long, value_name = "POLICY", value_parser = parse_registration)]
        registration: Registration,
        #[command(flatten)]
        mutation: Mutation,
    },
    /// List projects
    #[command(after_help = "Example:\n  pilothouse project list")]
    List,
}

pub(crate) async fn run(verb: Verb, session: &mut Session<'_>) -> Result<Exit, CliError> {
    match verb {
        Verb::Create { slug, name, registration, mutation } => {
            let mut body = json!({ "slug": slug });
            if let Some(name) = name {
                body["name"] = name.into();
            }
            if let Some(registration) = registration {
                body["registration"] = registration.as_str().into();
            }
            let request = Request { body, idempotency_key: mutation.idempotency_key, ..Request::default() };
            let body = session.ask(Operation::ProjectCreate, request).await?;
            session.show(&body, details)?;
        }
        Verb::Update { slug, registration, mutation } => {
            let body = json!({ "registration": registration });
            let (project, idempotency_key) = (Some(slug.to_string()), mutation.idempotency_key);
            let request = Request { project, body, idempotency_key, ..Request::default() };
            let body = session.ask(Operation::ProjectUpdate, request).await?;
            session.show(&body, details)?;
        }
        Verb::List => {
            let body = session.ask(Operation::ProjectList, Request::default()).await?;
            listing::show(session, &body, "projects", table)?;
        }
    }
    Ok(Exit::Ok)
}

fn details(body: &Value, now: Timestamp) -> Result<String, CliError> {
    let project: ProjectBody = read(body, "project")?;
    let mut details = Details::default();
    details
        .add("slug", &project.slug)
        .add("id", &project.id)
        .add("name", &project.name)
        .add("org", &project.org)
        .add("registration", project.registration.as_str())
        .add("created", moment(now, project.inserted_at));
    Ok(details.to_string())
}

fn table(body: &Value, now: Timestamp) -> Result<String, CliError> {
    let mut table = Table::new(["SLUG", "NAME", "ORG", "REGISTRATION", "CREATED"]);
    for project in read_list::<ProjectBody>(body, "projects")? {
        let registration = project.registration.as_str().to_owned();
        table.row([project.slug, project.name, project.org, registration, relative(now, project.inserted_at)]);
    }
    Ok(table.to_string())
}

fn parse_registration(text: &str) -> Result<Registration, String> {
    Registration::parse(text)
        .ok_or_else(|| format!("known are {}", Registration::ALL.map(Registration::as_str).join(", ")))
}
