//! Carries out what the machine asks for: each action is a task, each end of a task an input.
//!
//! Invariant: tasks that still run when the agent stops are ended before it does, their programs killed.

use crate::activation::Activation;
use crate::call::causes;
use crate::fetch::fetch;
use crate::machine::{Action, Input, Machine, Now};
use crate::node_api::NodeApi;
use crate::run::RunError;
use jiff::Timestamp;
use std::pin::pin;
use std::sync::Arc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

pub struct Driver {
    pub machine: Machine,
    pub api: Arc<NodeApi>,
    pub activation: Activation,
    pub started: Instant,
    /// One task per kind of action at most: the machine starts no second one.
    pub tasks: JoinSet<Input>,
}

impl Driver {
    /// Until `stop`, or until going on makes no sense.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> Result<(), RunError> {
        let mut stop = pin!(stop);
        let ended = loop {
            let due = self.machine.due(self.now());
            if let Err(error) = self.carry_out(due) {
                break Err(error);
            }
            tokio::select! {
                () = &mut stop => break Ok(()),
                Some(ended) = self.tasks.join_next() => {
                    if let Err(error) = self.take(ended) {
                        break Err(error);
                    }
                }
                () = wait_until(self.machine.wake_at().map(|wake| self.started + wake)) => {}
            }
        };
        self.tasks.shutdown().await;
        self.leave_activation();
        ended
    }

    fn now(&self) -> Now {
        Now { elapsed: self.started.elapsed(), wall: Timestamp::now() }
    }

    fn take(&mut self, ended: Result<Input, JoinError>) -> Result<(), RunError> {
        let input = ended.map_err(|e| RunError::Crashed(e.to_string()))?;
        let actions = self.machine.handle(input, self.now());
        self.carry_out(actions)
    }

    fn carry_out(&mut self, actions: Vec<Action>) -> Result<(), RunError> {
        for action in actions {
            let (api, activation) = (self.api.clone(), self.activation.clone());
            match action {
                Action::Register => self.start(async move { Input::Registered(api.register().await) }),
                Action::FetchToken => self.start(async move { Input::Token(api.fetch_token().await) }),
                Action::Beat(with, beat) => self.start(async move { Input::Beat(api.beat(with, &beat).await) }),
                Action::Poll(with) => self.start(async move { Input::Polled(api.poll(with).await) }),
                Action::Fetch(target, archive) => self.start(async move {
                    let (store, commands) = (&activation.store, &activation.commands);
                    Input::Fetched(fetch(&api.client, store, commands, &target, &archive).await)
                }),
                Action::Activate(target, progress) => {
                    self.start(async move { Input::Activated(Box::new(activation.activate(&target, progress).await)) });
                }
                Action::Save(progress) => {
                    if let Err(error) = activation.data.save_progress(&progress) {
                        tracing::error!(error = causes(&error), "could not keep the state");
                    }
                }
                Action::Stop(why) => return Err(RunError::Refused(why)),
            }
        }
        Ok(())
    }

    fn start(&mut self, task: impl Future<Output = Input> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// A stop in the middle of an activation must not leave `current` at a bundle that nobody saw working.
    fn leave_activation(&self) {
        match self.activation.data.progress() {
            Ok(Some(progress)) if progress.switching => {
                if let Err(error) = self.activation.abandon(&progress) {
                    tracing::error!(%error, "could not go back from the interrupted activation; the next start does");
                }
            }
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "could not read the state"),
        }
    }
}

async fn wait_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake).await,
        None => std::future::pending().await,
    }
}
