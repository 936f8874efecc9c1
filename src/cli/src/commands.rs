//! All verbs, by noun.

mod apikey;
mod bundle;
mod events;
mod node;
mod project;
mod rollout;

use crate::error::CliError;
use crate::exit::Exit;
use crate::session::Session;

/// What an operator can ask for.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Projects: what nodes, bundles and rollouts belong to
    #[command(subcommand)]
    Project(project::Verb),
    /// Nodes: the proxies of a project
    #[command(subcommand)]
    Node(node::Verb),
    /// Bundles: compiled and signed versions of a project's configuration
    #[command(subcommand)]
    Bundle(bundle::Verb),
    /// Rollouts: bring a bundle to nodes, step by step
    #[command(subcommand)]
    Rollout(rollout::Verb),
    /// API keys for the REST API
    #[command(subcommand)]
    Apikey(apikey::Verb),
    /// The fleet's facts as they are committed
    #[command(subcommand)]
    Events(events::Verb),
}

pub(crate) async fn run(command: Command, session: &mut Session) -> Result<Exit, CliError> {
    match command {
        Command::Project(verb) => project::run(verb, session).await,
        Command::Node(verb) => node::run(verb, session).await,
        Command::Bundle(verb) => bundle::run(verb, session).await,
        Command::Rollout(verb) => rollout::run(verb, session).await,
        Command::Apikey(verb) => apikey::run(verb, session).await,
        Command::Events(verb) => events::run(verb, session).await,
    }
}

#[cfg(test)]
mod tests;
