//! `pilothouse project …`

use crate::answer::{read, read_list};
use crate::arguments::Mutation;
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
    #[command(after_help = "Example:\n  pilothouse project create edge --name \"Edge proxies\"")]
    Create {
        /// Lowercase letters, digits and inner hyphens; never changes
        slug: Slug,
        /// What people call it [default: the slug]
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        mutation: Mutation,
    },
    /// List projects
    #[command(after_help = "Example:\n  pilothouse project list")]
    List,
}

pub(crate) async fn run(verb: Verb, session: &mut Session<'_>) -> Result<Exit, CliError> {
    match verb {
        Verb::Create { slug, name, mutation } => {
            let mut body = json!({ "slug": slug });
            if let Some(name) = name {
                body["name"] = name.into();
            }
            let request = Request { body, idempotency_key: mutation.idempotency_key, ..Request::default() };
            let body = session.ask(Operation::ProjectCreate, request).await?;
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
        .add("registration", registration(project.registration))
        .add("created", moment(now, project.inserted_at));
    Ok(details.to_string())
}

fn table(body: &Value, now: Timestamp) -> Result<String, CliError> {
    let mut table = Table::new(["SLUG", "NAME", "ORG", "REGISTRATION", "CREATED"]);
    for project in read_list::<ProjectBody>(body, "projects")? {
        let registration = registration(project.registration).to_owned();
        table.row([project.slug, project.name, project.org, registration, relative(now, project.inserted_at)]);
    }
    Ok(table.to_string())
}

fn registration(policy: Registration) -> &'static str {
    match policy {
        Registration::Open => "open",
    }
}
