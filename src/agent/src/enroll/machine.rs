//! The way of a host from a key to credentials: a state machine without IO, clock or randomness of its own.
//!
//! One thing at a time: [`Machine::next`] says what, and after an action [`Machine::handle`] takes what came of it.
//!
//! Invariant: a challenge is used once; credentials are asked for only of an enrollment that was seen approved or beyond; no
//! server is asked again before the time that it named, and no answer leads to another call without a wait except along the
//! way forward; what an operator refused is not tried again unless that was asked for. Times are since the start.

mod port;
mod servers;

use crate::call::CallError;
use crate::machine::pace::Random;
use contract::ErrorCode;
use domain::enrollment::State;
pub use port::{Action, Challenge, FetchError, Followed, Input, Known, Next, Refused, Stop};
use servers::{FAILOVER_SPREAD, Servers};
use std::time::Duration;

/// The documents' text for a challenge that is unknown, expired or used; the one refusal that a new attempt mends.
const CHALLENGE_REFUSED: &str = "challenge verification failed";
const CHALLENGES_MAX: u32 = 3;
const CONFLICTS_MAX: u32 = 5;
const CONFLICT_WAIT: Duration = Duration::from_secs(30);
/// Enrollments that were lost on the way, and answers about one that contradict each other.
const RESTARTS_MAX: u32 = 3;
const MISSING_MAX: u32 = 2;
const FETCH_REFUSALS_MAX: u32 = 5;
const UNUSABLE_MAX: u32 = 3;

/// A stream that lasted so long did its work.
const STREAM_LIVED: Duration = Duration::from_secs(60);
/// After so many in a row that did not, it is asked instead of followed.
const STREAM_FAILURES_MAX: u32 = 3;
const STREAM_SPREAD: Duration = Duration::from_secs(5);
const ASK_FIRST: Duration = Duration::from_secs(10);
const ASK_MAX: Duration = Duration::from_secs(300);
/// Following is tried again after so many questions.
const ASKS_PER_STREAM: u32 = 6;

#[derive(Clone, Debug)]
enum Step {
    NewKey,
    Challenge,
    Enroll(Challenge),
    Follow(String),
    Ask(String),
    Fetch(String),
    Done,
    Stopped(Stop),
}

pub struct Machine {
    step: Step,
    due: Duration,
    began: Duration,
    known: Known,
    again: bool,
    servers: Servers,
    random: Random,
    challenges: u32,
    conflicts: u32,
    restarts: u32,
    missing: u32,
    fetch_refusals: u32,
    unusable: u32,
    stream_failures: u32,
    asks: u32,
}

impl Machine {
    /// `urls`: how many servers there are, at least one. `again`: an operator's refusal is met with another attempt, once.
    pub fn new(urls: usize, known: Known, again: bool, seed: u64) -> Machine {
        let mut machine = Machine {
            step: Step::Challenge,
            due: Duration::ZERO,
            began: Duration::ZERO,
            known,
            again,
            servers: Servers::new(urls),
            random: Random::new(seed),
            challenges: 0,
            conflicts: 0,
            restarts: 0,
            missing: 0,
            fetch_refusals: 0,
            unusable: 0,
            stream_failures: 0,
            asks: 0,
        };
        if let Some(refused) = machine.known.refused {
            machine.refuse(refused, Duration::ZERO);
        } else if let Some(enrollment) = machine.known.enrollment.clone() {
            machine.step = Step::Ask(enrollment);
        }
        machine
    }

    /// To be kept on disk before what [`Machine::next`] says is done.
    pub fn known(&self) -> &Known {
        &self.known
    }

    pub fn next(&mut self, now: Duration) -> Next {
        let url = self.servers.current();
        let action = match self.step.clone() {
            Step::Done => return Next::Done,
            Step::Stopped(stop) => return Next::Stop(stop),
            Step::NewKey => Action::NewKey,
            Step::Challenge => Action::Challenge { url },
            Step::Enroll(challenge) => Action::Enroll { url, challenge },
            Step::Follow(enrollment) => Action::Follow { url, enrollment },
            Step::Ask(enrollment) => Action::Ask { url, enrollment },
            Step::Fetch(enrollment) => Action::Fetch { url, enrollment },
        };
        let due = self.due.max(self.servers.ready_at());
        if now < due {
            return Next::Wait(due);
        }
        self.began = now;
        Next::Do(action)
    }

    pub fn handle(&mut self, input: Input, now: Duration) {
        match (self.step.clone(), input) {
            (Step::NewKey, Input::NewKey(outcome)) => match outcome {
                Ok(()) => self.go(Step::Challenge, now),
                Err(why) => self.stop(Stop::Failed(why)),
            },
            (Step::Challenge, Input::Challenge(answer)) => match answer {
                Ok(challenge) => {
                    self.servers.answered();
                    self.go(Step::Enroll(challenge), now);
                }
                Err(error) => self.not_begun(&error, now),
            },
            (Step::Enroll(_), Input::Enroll(answer)) => self.enrolled(answer, now),
            (Step::Follow(id), Input::Follow(outcome)) => self.followed(id, outcome, now),
            (Step::Ask(id), Input::Ask(answer)) => self.asked(id, answer, now),
            (Step::Fetch(id), Input::Fetch(outcome)) => self.fetched(id, outcome, now),
            // An input that no action of now asked for says nothing.
            _ => {}
        }
    }

    fn enrolled(&mut self, answer: Result<(String, State), CallError>, now: Duration) {
        match answer {
            Ok((id, state)) => {
                tracing::info!(enrollment = id, ?state, "enrollment submitted");
                self.servers.answered();
                (self.challenges, self.conflicts) = (0, 0);
                self.known = Known { enrollment: Some(id.clone()), refused: None };
                self.seen(id, state, now);
            }
            Err(CallError::Refused { status: 401, message, .. }) if message == CHALLENGE_REFUSED => {
                self.challenges += 1;
                if self.challenges >= CHALLENGES_MAX {
                    return self.stop(Stop::Failed(format!(
                        "the control plane answered {CHALLENGE_REFUSED:?} {CHALLENGES_MAX} times, each time to a new \
                         challenge: check that all enroll_urls lead to the same installation, and its log"
                    )));
                }
                self.step = Step::Challenge;
                self.due = now + self.random.up_to(FAILOVER_SPREAD);
            }
            Err(error) if error.is_code(ErrorCode::KeyRevoked) => self.refuse(Refused::Revoked, now),
            Err(error @ CallError::Refused { status: 409, .. }) => self.taken(&error, now),
            Err(error) => {
                // Whether the challenge is used up is not known, so the next attempt takes a new one.
                self.step = Step::Challenge;
                self.not_begun(&error, now);
            }
        }
    }

    /// Another key has this id.
    fn taken(&mut self, error: &CallError, now: Duration) {
        self.conflicts += 1;
        let advice = "where another key holds this host's id, an operator finds it with `pilothouse enroll list` and rejects \
                      or revokes it, or this host gets an id of its own with the setting host_id";
        if self.conflicts >= CONFLICTS_MAX {
            return self.stop(Stop::Refused(format!("{error}; {advice}")));
        }
        tracing::warn!(%error, "{advice}; trying again");
        self.step = Step::Challenge;
        let wait = CONFLICT_WAIT * 2u32.pow(self.conflicts - 1);
        self.due = now + wait + self.random.up_to(wait / 4);
    }

    /// No enrollment came of a challenge or its use.
    fn not_begun(&mut self, error: &CallError, now: Duration) {
        if self.postpone(error, now) {
            return;
        }
        let stop = match error {
            CallError::Refused { status: 404 | 405, .. } => {
                Stop::Failed(format!("{error}: no enrollment is served there, check the setting enroll_urls"))
            }
            CallError::Refused { status: 401 | 403, .. } => {
                Stop::Refused(format!("{error}; check the setting join_token_file, or ask an operator"))
            }
            _ => Stop::Failed(format!("the enrollment was refused: {error}")),
        };
        self.stop(stop);
    }

    /// What a state means for what is next.
    fn seen(&mut self, id: String, state: State, now: Duration) {
        match state {
            State::Pending if self.stream_failures < STREAM_FAILURES_MAX => self.go(Step::Follow(id), now),
            State::Pending => self.ask_later(id, now),
            State::Approved if self.fetch_refusals > 0 => {
                self.step = Step::Fetch(id);
                self.due = now + self.random.backoff(self.fetch_refusals);
            }
            State::Issued | State::Active if self.fetch_refusals > 0 => {
                self.begin_again("its credentials are gone", now)
            }
            State::Approved | State::Issued | State::Active => self.go(Step::Fetch(id), now),
            State::Rejected => self.refuse(Refused::Rejected, now),
            State::Revoked => self.refuse(Refused::Revoked, now),
        }
    }

    fn followed(&mut self, id: String, outcome: Followed, now: Duration) {
        let lived = now.saturating_sub(self.began) >= STREAM_LIVED;
        match outcome {
            Followed::State(state) => {
                self.servers.answered();
                (self.missing, self.stream_failures) = (0, 0);
                self.seen(id, state, now);
            }
            Followed::NoStream => {
                tracing::info!("no stream of events gets through; asking from time to time");
                self.stream_failures = STREAM_FAILURES_MAX;
                self.go(Step::Ask(id), now);
            }
            Followed::Ended | Followed::Failed(_) if lived => {
                self.servers.answered();
                self.stream_failures = 0;
                self.due = now + self.random.up_to(STREAM_SPREAD);
                if let Followed::Failed(error) = &outcome {
                    self.postpone(error, now);
                }
            }
            Followed::Ended => {
                self.stream_failures += 1;
                self.due = now + self.random.backoff(self.stream_failures);
            }
            Followed::Failed(CallError::Refused { status: 404, .. }) => self.not_found(id, now),
            Followed::Failed(error) => {
                self.stream_failures += 1;
                if !self.postpone(&error, now) {
                    self.stream_failures = STREAM_FAILURES_MAX;
                    self.due = now;
                }
            }
        }
        // Whoever would follow after too many failures asks.
        if let (Step::Follow(id), true) = (self.step.clone(), self.stream_failures >= STREAM_FAILURES_MAX) {
            self.step = Step::Ask(id);
        }
    }

    fn asked(&mut self, id: String, answer: Result<State, CallError>, now: Duration) {
        match answer {
            Ok(state) => {
                self.servers.answered();
                self.missing = 0;
                self.seen(id, state, now);
            }
            Err(CallError::Refused { status: 404, .. }) => self.not_found(id, now),
            Err(error) if self.postpone(&error, now) => {}
            Err(error) => self.stop(Stop::Failed(format!("the question for the enrollment was refused: {error}"))),
        }
    }

    fn ask_later(&mut self, id: String, now: Duration) {
        let wait = (ASK_FIRST * 2u32.pow(self.asks.min(10))).min(ASK_MAX);
        self.asks += 1;
        self.due = now + wait * 3 / 4 + self.random.up_to(wait / 2);
        let follow = self.asks.is_multiple_of(ASKS_PER_STREAM);
        // One failure more, and it is asked again.
        self.stream_failures = if follow { STREAM_FAILURES_MAX - 1 } else { self.stream_failures };
        self.step = if follow { Step::Follow(id) } else { Step::Ask(id) };
    }

    fn fetched(&mut self, id: String, outcome: Result<(), FetchError>, now: Duration) {
        let error = match outcome {
            Ok(()) => {
                self.known = Known::default();
                self.step = Step::Done;
                return;
            }
            Err(FetchError::Local(why)) => return self.stop(Stop::Failed(why)),
            Err(FetchError::Unusable(why)) => {
                self.unusable += 1;
                if self.unusable >= UNUSABLE_MAX {
                    return self.stop(Stop::Failed(why));
                }
                tracing::error!("{why}; asking once more");
                return self.postpone_elsewhere(now);
            }
            Err(FetchError::Call(error)) => error,
        };
        match &error {
            CallError::Refused { status: 404, .. } => self.not_found(id, now),
            // Not approved, or handed out before: the state tells which.
            CallError::Refused { status: 403 | 409, .. } if self.fetch_refusals < FETCH_REFUSALS_MAX => {
                tracing::warn!(%error, "no credentials");
                self.fetch_refusals += 1;
                self.go(Step::Ask(id), now);
            }
            _ if self.postpone(&error, now) => {}
            _ => self.stop(Stop::Failed(format!("the credentials were refused: {error}"))),
        }
    }

    /// A server may be behind the others; an enrollment that stays unknown is begun again.
    fn not_found(&mut self, id: String, now: Duration) {
        self.missing += 1;
        if self.missing > MISSING_MAX {
            return self.begin_again("the control plane does not know it", now);
        }
        self.step = Step::Ask(id);
        self.postpone_elsewhere(now);
    }

    /// The same key, a new enrollment.
    fn begin_again(&mut self, why: &str, now: Duration) {
        self.restarts += 1;
        if self.restarts > RESTARTS_MAX {
            return self.stop(Stop::Failed(format!("the enrollment was lost {RESTARTS_MAX} times: {why}")));
        }
        tracing::warn!("the enrollment is lost: {why}; enrolling again, which an operator is to approve");
        (self.missing, self.fetch_refusals) = (0, 0);
        self.known.enrollment = None;
        self.step = Step::Challenge;
        self.due = now + self.random.backoff(self.restarts);
    }

    fn refuse(&mut self, refused: Refused, now: Duration) {
        if std::mem::take(&mut self.again) {
            tracing::warn!(?refused, "enrolling again although an operator refused, as the setting enroll_again says");
            self.known = Known::default();
            return self.go(if refused == Refused::Revoked { Step::NewKey } else { Step::Challenge }, now);
        }
        self.known = Known { enrollment: None, refused: Some(refused) };
        let what = match refused {
            Refused::Rejected => "an operator rejected this host, or nobody decided in time",
            Refused::Revoked => "an operator revoked this host",
        };
        self.stop(Stop::Refused(format!("{what}: when that is settled, start once with --enroll-again")));
    }

    /// Plans the same step again when that may help. False when nothing helps.
    fn postpone(&mut self, error: &CallError, now: Duration) -> bool {
        let due = self.servers.postpone(error, now, &mut self.random);
        self.due = due.unwrap_or(self.due);
        due.is_some()
    }

    fn postpone_elsewhere(&mut self, now: Duration) {
        self.due = self.servers.next_one(now, &mut self.random);
    }

    fn go(&mut self, step: Step, now: Duration) {
        self.step = step;
        self.due = now;
    }

    fn stop(&mut self, stop: Stop) {
        self.step = Step::Stopped(stop);
    }
}

#[cfg(test)]
mod property;
#[cfg(test)]
mod tests;
