//! What a command works with: the target, the console, and a connection that is made when the first question is asked, so
//! that a wrong command line is told without one.

use crate::client::Client;
use crate::console::Console;
use crate::error::CliError;
use crate::target::Target;
use contract::{Operation, Request};
use serde_json::Value;

pub(crate) struct Session<'c> {
    pub console: &'c mut Console,
    pub target: Target,
    client: Option<Client>,
}

impl<'c> Session<'c> {
    pub fn new(target: Target, console: &'c mut Console) -> Session<'c> {
        Session { console, target, client: None }
    }

    /// A request within the project.
    pub fn in_project(&self) -> Result<Request, CliError> {
        Ok(Request { project: Some(self.target.project()?.to_string()), ..Request::default() })
    }

    /// A request on one resource of the project.
    pub fn on(&self, id: &str) -> Result<Request, CliError> {
        Ok(Request { id: Some(id.to_owned()), ..self.in_project()? })
    }

    pub async fn client(&mut self) -> Result<&mut Client, CliError> {
        let client = match self.client.take() {
            Some(client) => client,
            None => Client::connect(&self.target).await?,
        };
        Ok(self.client.insert(client))
    }

    /// The body of the answer; an error answer is an error.
    pub async fn ask(&mut self, operation: Operation, request: Request) -> Result<Value, CliError> {
        Ok(self.client().await?.ask(operation, request).await?.body)
    }

    /// Prints an answer: its body as it is, or what `render` makes of it.
    pub fn show(
        &mut self,
        body: &Value,
        render: impl FnOnce(&Value, jiff::Timestamp) -> Result<String, CliError>,
    ) -> Result<(), CliError> {
        self.console.show(body, render)
    }
}
