//! What the agent does next: a state machine without IO, clock or randomness of its own.
//!
//! The driver hands in what happened ([`Input`]) and carries out what comes back ([`Action`]); every action but `Save` and
//! `Stop` is answered by exactly one input.
//!
//! Invariant: whatever the answers are, the node goes on beating, at most one call of each kind is under way, and only an
//! offer that `offer::check` passes leads to a download, only a finished download to an activation.

pub mod pace;
mod port;
mod receipts;

use crate::call::CallError;
use crate::offer::{self, Identity, Verdict};
use crate::progress::{Progress, Target};
use contract::{ErrorCode, HeartbeatAnswer, LatestBundle, Offer};
use domain::BundleId;
use pace::{Job, Random};
pub use port::{Action, Activated, Beat, Credential, Failure, FetchError, Input, Now, Pace, RegisterError};
use receipts::Receipts;
use std::time::Duration;

/// While the org has no key for tokens, the node key serves.
const NO_SIGNING_KEY_RETRY: Duration = Duration::from_secs(300);
/// A bundle that cannot be fetched is reported from this attempt on; the attempts go on.
const FETCH_FAILURES_REPORTED: u32 = 3;

enum Work {
    Idle,
    Fetching(Target),
    Activating(BundleId),
}

pub struct Machine {
    pace: Pace,
    archive_bytes_max: u64,
    identity: Option<Identity>,
    progress: Progress,
    registration: Job,
    token: Job,
    beat: Job,
    poll: Job,
    /// When the token ends; None without one.
    token_ends: Option<Duration>,
    /// What the newest poll answer asked for.
    poll_after: Duration,
    /// When the newest poll began.
    polled_at: Duration,
    /// What came of an offer is not told yet; once it is, the next poll can wait for another.
    poll_after_beat: bool,
    work: Work,
    fetch_failures: u32,
    staged: Option<BundleId>,
    failure: Option<Failure>,
    /// Something changed while a beat that does not tell it was under way.
    beat_again: bool,
    receipts: Receipts,
    random: Random,
}

impl Machine {
    pub fn new(
        pace: Pace,
        archive_bytes_max: u64,
        identity: Option<Identity>,
        progress: Progress,
        seed: u64,
    ) -> Machine {
        let failure = progress
            .failed
            .as_ref()
            .map(|failed| Failure { bundle: failed.target.bundle.id, error: failed.error.clone() });
        Machine {
            pace,
            archive_bytes_max,
            identity,
            progress,
            registration: Job::default(),
            token: Job::default(),
            beat: Job::default(),
            poll: Job::default(),
            token_ends: None,
            poll_after: pace::POLL_DEFAULT,
            polled_at: Duration::ZERO,
            poll_after_beat: false,
            work: Work::Idle,
            fetch_failures: 0,
            staged: None,
            failure,
            beat_again: false,
            receipts: Receipts::default(),
            random: Random::new(seed),
        }
    }

    #[cfg(test)]
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The earliest moment at which [`Machine::due`] may return something without an input before it.
    pub fn wake_at(&self) -> Option<Duration> {
        let waiting = |job: &Job, ready: bool| (ready && !job.running).then_some(job.due);
        if self.identity.is_none() {
            return waiting(&self.registration, true);
        }
        let settled = self.has_credential();
        [
            waiting(&self.token, true),
            waiting(&self.beat, settled),
            waiting(&self.poll, settled && matches!(self.work, Work::Idle)),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// What is to be started now.
    pub fn due(&mut self, now: Now) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.identity.is_none() {
            if self.registration.start(now.elapsed) {
                actions.push(Action::Register);
            }
            return actions;
        }
        if self.token_ends.is_some_and(|ends| ends <= now.elapsed) {
            self.token_ends = None;
        }
        if self.token.start(now.elapsed) {
            actions.push(Action::FetchToken);
        }
        if !self.has_credential() {
            return actions;
        }
        let credential = if self.token_ends.is_some() { Credential::Token } else { Credential::Key };
        if self.beat.start(now.elapsed) {
            self.beat_again = false;
            actions.push(Action::Beat(credential, self.beat_to_tell()));
        }
        if matches!(self.work, Work::Idle) && self.poll.start(now.elapsed) {
            self.polled_at = now.elapsed;
            self.poll_after_beat = false;
            actions.push(Action::Poll(credential));
        }
        actions
    }

    pub fn handle(&mut self, input: Input, now: Now) -> Vec<Action> {
        match input {
            Input::Registered(answer) => return self.registered(answer, now.elapsed),
            Input::Token(answer) => self.token_answered(answer, now.elapsed),
            Input::Beat(answer) => return self.beat_answered(answer, now.elapsed),
            Input::Polled(answer) => return self.polled(answer, now),
            Input::Fetched(outcome) => return self.fetched(outcome, now.elapsed),
            Input::Activated(outcome) => return self.activated(*outcome, now.elapsed),
        }
        Vec::new()
    }

    fn registered(&mut self, answer: Result<Identity, RegisterError>, now: Duration) -> Vec<Action> {
        match answer {
            Ok(identity) => {
                self.registration.succeed(now);
                self.identity = Some(identity);
                [&mut self.token, &mut self.beat, &mut self.poll].into_iter().for_each(|job| job.due = now);
                Vec::new()
            }
            Err(error) => match error.hopeless() {
                Ok(why) => vec![Action::Stop(why)],
                Err(error) => {
                    tracing::warn!(%error, "could not register, trying again");
                    self.registration.fail(now, error.retry_after(), &mut self.random);
                    Vec::new()
                }
            },
        }
    }

    fn token_answered(&mut self, answer: Result<u32, CallError>, now: Duration) {
        match answer {
            Ok(expires_in_s) => {
                let lifetime = pace::token_lifetime(expires_in_s);
                self.token.succeed(now + lifetime * 2 / 3);
                self.token_ends = Some(now + lifetime);
            }
            Err(error) if error.is_code(ErrorCode::NoSigningKey) => {
                tracing::warn!("the org has no key for node tokens; the node key is used instead");
                self.token.fail(now, Some(NO_SIGNING_KEY_RETRY), &mut self.random);
            }
            Err(error) => {
                tracing::warn!(%error, "no node token; the node key is used instead");
                self.token.fail(now, error.retry_after(), &mut self.random);
            }
        }
    }

    fn beat_answered(&mut self, answer: Result<HeartbeatAnswer, CallError>, now: Duration) -> Vec<Action> {
        match answer {
            Ok(answer) => {
                let asked = pace::interval(answer.next_heartbeat_s);
                self.beat.succeed(now + self.pace.heartbeat.unwrap_or(asked));
                if self.beat_again {
                    self.beat.due = now;
                } else {
                    self.failure = None;
                    if std::mem::take(&mut self.poll_after_beat) && !self.poll.running {
                        self.poll.due = now;
                    }
                }
                self.receipt_heard(now)
            }
            Err(error) => {
                tracing::warn!(%error, "heartbeat failed");
                if error.is_unauthorized() && self.token_ends.is_none() {
                    tracing::error!(
                        "the node key is not accepted: if this node was deleted, remove credentials.json from the data \
                         directory and start again"
                    );
                }
                self.beat.fail(now, error.retry_after(), &mut self.random);
                self.credential_doubted(&error, now);
                // With a new token the first repetition need not wait.
                if error.is_unauthorized() && self.beat.failures == 1 {
                    self.beat.due = now;
                }
                self.receipt_refused(&error)
            }
        }
    }

    fn polled(&mut self, answer: Result<LatestBundle, CallError>, now: Now) -> Vec<Action> {
        match answer {
            Ok(LatestBundle::NoUpdate(answer)) => {
                self.rest(answer.poll_after_s, now.elapsed);
                self.wait_on(now.elapsed);
                Vec::new()
            }
            Ok(LatestBundle::Offer(offer)) => {
                self.rest(offer.poll_after_s, now.elapsed);
                self.offered(&offer, now)
            }
            Err(error) => {
                tracing::warn!(%error, "could not ask for bundles");
                self.poll.fail(now.elapsed, error.retry_after(), &mut self.random);
                self.credential_doubted(&error, now.elapsed);
                Vec::new()
            }
        }
    }

    fn offered(&mut self, offer: &Offer, now: Now) -> Vec<Action> {
        let Some(identity) = &self.identity else { return Vec::new() };
        match offer::check(offer, identity, &self.progress, self.archive_bytes_max, now.wall) {
            Ok(Verdict::Activate(target, archive)) => {
                tracing::info!(bundle = %target.bundle.id, version = %target.bundle.version, "new assignment");
                self.work = Work::Fetching(target.clone());
                vec![Action::Fetch(target, archive)]
            }
            Ok(Verdict::AlreadyActive(target)) => {
                // The server does not know yet what runs here.
                let before = self.progress.clone();
                self.progress.raise(&target);
                self.failure = None;
                self.beat_now(now.elapsed);
                if self.progress == before { Vec::new() } else { vec![Action::Save(self.progress.clone())] }
            }
            Ok(Verdict::AlreadyFailed) => {
                if let Some(failed) = self.progress.failed.clone() {
                    self.report(failed.target.bundle.id, failed.error, now.elapsed);
                }
                Vec::new()
            }
            Err(refusal) => {
                tracing::error!(bundle = ?offer.bundle_id, %refusal, "offer refused");
                // A stale offer is no failure of the bundle: a replica that is behind sends it as well.
                if let (Ok(id), false) = (offer.bundle_id.parse(), refusal == offer::Refusal::Stale) {
                    self.report(id, format!("the node refused the offer: {refusal}"), now.elapsed);
                }
                Vec::new()
            }
        }
    }

    fn fetched(&mut self, outcome: Result<(), FetchError>, now: Duration) -> Vec<Action> {
        let Work::Fetching(target) = std::mem::replace(&mut self.work, Work::Idle) else { return Vec::new() };
        let id = target.bundle.id;
        match outcome {
            Ok(()) => {
                self.fetch_failures = 0;
                self.staged = Some(id);
                self.work = Work::Activating(id);
                self.beat_now(now);
                vec![Action::Activate(target, self.progress.clone())]
            }
            Err(FetchError::Final(error)) => {
                tracing::error!(bundle = %id, error, "bundle refused");
                self.fetch_failures = 0;
                self.progress.fail(&target, error.clone());
                self.report(id, error, now);
                vec![Action::Save(self.progress.clone())]
            }
            Err(FetchError::Passing(error)) => {
                self.postpone(id, error, now);
                Vec::new()
            }
        }
    }

    fn activated(&mut self, outcome: Activated, now: Duration) -> Vec<Action> {
        let Work::Activating(id) = std::mem::replace(&mut self.work, Work::Idle) else { return Vec::new() };
        self.progress = outcome.progress;
        let actions = self.forget_told();
        if let Some(error) = outcome.postponed {
            self.postpone(id, error, now);
            return actions;
        }
        self.failure = None;
        match self.progress.failed.clone() {
            Some(failed) => self.report(id, failed.error, now),
            None => self.beat_now(now),
        }
        self.rest_after_work(now);
        actions
    }

    /// The bundle is tried again at a new offer, whose URL is fresh.
    fn postpone(&mut self, id: BundleId, error: String, now: Duration) {
        tracing::warn!(bundle = %id, error, "bundle not taken yet, trying again");
        self.fetch_failures = self.fetch_failures.saturating_add(1);
        self.poll.due = now + self.random.backoff(self.fetch_failures);
        if self.fetch_failures >= FETCH_FAILURES_REPORTED {
            self.report(id, error, now);
        }
    }

    /// Tells a failure in the next beat, and that beat at once when it is news.
    fn report(&mut self, bundle: BundleId, error: String, now: Duration) {
        let failure = Failure { bundle, error };
        if self.failure.as_ref() != Some(&failure) {
            self.failure = Some(failure);
            self.beat_now(now);
        }
    }

    fn beat_now(&mut self, now: Duration) {
        if self.beat.running {
            self.beat_again = true;
        } else if self.beat.failures == 0 {
            self.beat.due = now;
        }
    }

    fn beat_to_tell(&mut self) -> Beat {
        let active = self.progress.active.as_ref().map(|bundle| bundle.id);
        let switched = self.receipt_to_tell();
        Beat { active, staged: self.staged.or(active), failure: self.failure.clone(), switched }
    }

    fn rest(&mut self, poll_after_s: u32, now: Duration) {
        self.poll_after = self.pace.poll.unwrap_or(pace::interval(poll_after_s));
        self.poll.succeed(now + self.poll_after);
    }

    /// Without an offer the next question follows at once, if the server did wait: one that has no room for it, or stops, or
    /// does not know how, answers early and is asked again after a while.
    fn wait_on(&mut self, now: Duration) {
        let Some(wait) = self.pace.wait else { return };
        let waited = now.saturating_sub(self.polled_at) >= wait;
        self.poll.due = if waited { now } else { now + wait.min(self.poll_after) };
    }

    /// A question before the beat is heard would get the same offer again.
    fn rest_after_work(&mut self, now: Duration) {
        self.fetch_failures = 0;
        self.poll.due = now + self.poll_after;
        self.poll_after_beat = self.pace.wait.is_some();
    }

    /// After the first attempt to get a token the node key serves where there is none.
    fn has_credential(&self) -> bool {
        self.token_ends.is_some() || self.token.failures > 0
    }

    /// A token that was refused is given up; the next call waits for a new one.
    fn credential_doubted(&mut self, error: &CallError, now: Duration) {
        if error.is_unauthorized() && self.token_ends.take().is_some() && !self.token.running {
            self.token.failures = 0;
            self.token.due = now;
        }
    }
}

#[cfg(test)]
mod property;
#[cfg(test)]
mod tests;
