//! All verbs, by noun.

mod apikey;
mod bundle;
mod completions;
mod context;
mod enroll;
mod events;
mod node;
mod project;
mod rollout;
mod token;

use crate::console::Console;
use crate::error::CliError;
use crate::exit::Exit;
use crate::globals::Globals;
use crate::session::Session;
use crate::surroundings::Surroundings;
use crate::target::Target;

#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    #[command(flatten)]
    Question(Question),
    /// Contexts: installations under names of their own
    #[command(subcommand)]
    Context(context::Verb),
    /// Print a script that completes commands, names and ids on the command line
    #[command(after_help = completions::EXAMPLE)]
    Completions(completions::Completions),
}

/// What an operator can ask a control plane for.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Question {
    /// Projects: what nodes, bundles and rollouts belong to
    #[command(subcommand)]
    Project(project::Verb),
    /// Nodes: the proxies of a project
    #[command(subcommand)]
    Node(node::Verb),
    /// Join tokens: what new nodes show where a project asks for it
    #[command(subcommand)]
    Token(token::Verb),
    /// Enrollments: hosts that ask to be let in
    #[command(subcommand)]
    Enroll(enroll::Verb),
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

pub(crate) async fn run(
    command: Command,
    globals: &Globals,
    around: &Surroundings,
    console: &mut Console,
) -> Result<Exit, CliError> {
    let question = match command {
        Command::Question(question) => question,
        Command::Context(verb) => return context::run(verb, globals, around, console),
        Command::Completions(completions) => return completions::run(&completions, console),
    };
    let session = &mut Session::new(Target::resolve(globals, around)?, console);
    match question {
        Question::Project(verb) => project::run(verb, session).await,
        Question::Node(verb) => node::run(verb, session).await,
        Question::Token(verb) => token::run(verb, session).await,
        Question::Enroll(verb) => enroll::run(verb, session).await,
        Question::Bundle(verb) => bundle::run(verb, session).await,
        Question::Rollout(verb) => rollout::run(verb, session).await,
        Question::Apikey(verb) => apikey::run(verb, session).await,
        Question::Events(verb) => events::run(verb, session).await,
    }
}

#[cfg(test)]
pub(crate) use bundle::tests::bundle as bundle_body;
#[cfg(test)]
pub(crate) use node::tests::node as node_body;
#[cfg(test)]
pub(crate) use node::why::tests::why as node_why;
#[cfg(test)]
pub(crate) use rollout::rollout_why;
#[cfg(test)]
mod tests;
