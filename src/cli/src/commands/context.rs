//! `pilothouse context …`: nobody is asked; all of it is one file, see [`crate::contexts`].

use crate::arguments::Confirm;
use crate::complete::{Live, live};
use crate::console::Console;
use crate::contexts::{Context, Contexts, absolute, parse_name};
use crate::error::CliError;
use crate::exit::Exit;
use crate::globals::Globals;
use crate::render::{Details, Table};
use crate::surroundings::{CA_FILE, CREDS, PROJECT, SERVER, Surroundings};
use crate::target::{read_credential, without_user};
use domain::Slug;
use serde_json::{Value, json};
use std::fs::File;

#[derive(Clone, Debug, clap::Subcommand)]
pub enum Verb {
    /// Keep --server, --creds, --ca-file and --project under a name
    ///
    /// What is not given as an option is taken from the environment. Paths are kept, not what is in the files. The first
    /// context is in use at once.
    #[command(
        after_help = "Example:\n  pilothouse context add prod --server tls://control.example:4222 --creds ops.creds --project edge"
    )]
    Add {
        /// Letters, digits, dots, hyphens and underscores
        #[arg(value_parser = parse_name)]
        name: String,
    },
    /// List contexts
    #[command(after_help = "Example:\n  pilothouse context list")]
    List,
    /// Use a context wherever neither option nor environment says otherwise
    #[command(after_help = "Example:\n  pilothouse context use prod")]
    Use {
        #[arg(add = live(Live::Contexts))]
        name: String,
    },
    /// Show a context
    #[command(after_help = "Example:\n  pilothouse context show prod")]
    Show {
        /// [default: the one in use]
        #[arg(add = live(Live::Contexts))]
        name: Option<String>,
    },
    /// Forget a context; the files that it names stay
    #[command(after_help = "Example:\n  pilothouse context remove prod --yes")]
    Remove {
        #[arg(add = live(Live::Contexts))]
        name: String,
        #[command(flatten)]
        confirm: Confirm,
    },
}

pub(crate) fn run(
    verb: Verb,
    globals: &Globals,
    around: &Surroundings,
    console: &mut Console,
) -> Result<Exit, CliError> {
    let mut contexts = Contexts::load(around)?;
    match verb {
        Verb::Add { name } => {
            let context = given(globals, around)?;
            match contexts.contexts.get(&name) {
                Some(known) if *known == context => {}
                Some(_) => {
                    let advice = format!("`pilothouse context remove {name}` makes room");
                    return Err(CliError::Taken(format!("there is another context {name:?} already; {advice}")));
                }
                None => {
                    contexts.contexts.insert(name.clone(), context);
                    contexts.current.get_or_insert_with(|| name.clone());
                    contexts.save(around)?;
                }
            }
            tell(console, &contexts, &name)?;
        }
        Verb::List => list(console, &contexts)?,
        Verb::Use { name } => {
            contexts.get(&name)?;
            contexts.current = Some(name.clone());
            contexts.save(around)?;
            tell(console, &contexts, &name)?;
        }
        Verb::Show { name } => {
            let none =
                || CliError::NoContext("no context is in use; `pilothouse context use NAME` uses one".to_owned());
            let name = name.or_else(|| contexts.current.clone()).ok_or_else(none)?;
            tell(console, &contexts, &name)?;
        }
        Verb::Remove { name, confirm } => {
            contexts.remove(&name)?;
            console.confirm(&format!("Forget context {name}"), confirm.yes)?;
            contexts.save(around)?;
            console.done(&Value::Null, &format!("context {name} is removed"))?;
        }
    }
    Ok(Exit::Ok)
}

/// A context of what options and environment say, checked as far as it can be without asking anybody.
fn given(globals: &Globals, around: &Surroundings) -> Result<Context, CliError> {
    let usage = |message: &str| CliError::Usage(message.to_owned());
    let server = globals.server.clone().filter(|url| !url.is_empty()).or_else(|| around.text(SERVER));
    let creds = globals.creds.clone().or_else(|| around.path(CREDS));
    let (Some(server), Some(creds)) = (server, creds) else {
        return Err(usage("a context needs --server URL and --creds FILE"));
    };
    if without_user(&server) != server {
        return Err(usage("a context keeps no passwords: give the server's URL without one"));
    }
    let creds = absolute(&creds, around)?;
    read_credential(&creds)?;
    let ca_file = globals.ca_file.clone().or_else(|| around.path(CA_FILE));
    let ca_file = ca_file.map(|path| absolute(&path, around)).transpose()?;
    if let Some(path) = &ca_file {
        File::open(path).map_err(|error| usage(&format!("could not read {} ({error})", path.display())))?;
    }
    let project = globals.project.clone().filter(|slug| !slug.is_empty()).or_else(|| around.text(PROJECT));
    if let Some(text) = &project {
        text.parse::<Slug>().map_err(|error| usage(&format!("the project {text:?} {error}")))?;
    }
    Ok(Context { server, creds, ca_file, project })
}

fn tell(console: &mut Console, contexts: &Contexts, name: &str) -> Result<(), CliError> {
    let body = json!({ "context": body(contexts, name, contexts.get(name)?) });
    console.show(&body, |_, _| {
        let context = contexts.get(name)?;
        let mut details = Details::default();
        details
            .add("name", name)
            .add("in use", if is_current(contexts, name) { "yes" } else { "no" })
            .add("server", &context.server)
            .add("creds", context.creds.display())
            .add_some("ca file", context.ca_file.as_ref().map(|path| path.display()))
            .add_some("project", context.project.as_ref());
        Ok(details.to_string())
    })
}

fn list(console: &mut Console, contexts: &Contexts) -> Result<(), CliError> {
    if contexts.contexts.is_empty() && !console.is_structured() {
        console.say("no contexts");
        return Ok(());
    }
    let all: Vec<Value> = contexts.contexts.iter().map(|(name, context)| body(contexts, name, context)).collect();
    console.show(&json!({ "contexts": all }), |_, _| {
        let mut table = Table::new(["NAME", "IN USE", "SERVER", "PROJECT", "CREDS"]);
        for (name, context) in &contexts.contexts {
            table.row([
                name.clone(),
                if is_current(contexts, name) { "*".to_owned() } else { String::new() },
                context.server.clone(),
                context.project.clone().unwrap_or_default(),
                context.creds.display().to_string(),
            ]);
        }
        Ok(table.to_string())
    })
}

fn body(contexts: &Contexts, name: &str, context: &Context) -> Value {
    json!({
        "name": name, "current": is_current(contexts, name), "server": context.server, "creds": context.creds,
        "ca_file": context.ca_file, "project": context.project
    })
}

fn is_current(contexts: &Contexts, name: &str) -> bool {
    contexts.current.as_deref() == Some(name)
}

#[cfg(test)]
mod tests;
