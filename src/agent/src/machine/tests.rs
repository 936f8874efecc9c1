#![allow(clippy::unwrap_used)]
mod receipts;
mod waiting;

use super::*;
use crate::testing::{assignment, bundle_id, identity, offer, target};
use contract::NoUpdate;
use jiff::Timestamp;

const HOUR_S: u32 = 3600;

/// Given a machine, when this happens, then these actions come.
struct Given {
    machine: Machine,
    elapsed: Duration,
}

fn wall() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn given(identity: Option<Identity>, progress: Progress) -> Given {
    Given { machine: Machine::new(Pace::default(), 1_000_000, identity, progress, 1), elapsed: Duration::ZERO }
}

/// Registered, with a token, the first heartbeat and the first poll answered.
fn running(progress: Progress) -> Given {
    let mut given = given(Some(identity()), progress);
    assert_eq!(given.due(), [Action::FetchToken]);
    given.when(Input::Token(Ok(12 * HOUR_S)));
    assert!(matches!(given.due()[..], [Action::Beat(Credential::Token, _), Action::Poll(Credential::Token)]));
    given.when(beat_ok());
    given.when(no_update());
    given
}

fn on_bundle_1() -> Progress {
    let mut progress = Progress::default();
    progress.succeed(&target(1));
    progress
}

impl Given {
    fn now(&self) -> Now {
        Now { elapsed: self.elapsed, wall: wall() }
    }

    fn due(&mut self) -> Vec<Action> {
        self.machine.due(self.now())
    }

    fn when(&mut self, input: Input) -> Vec<Action> {
        self.machine.handle(input, self.now())
    }

    /// Time passes until something is due.
    fn wait(&mut self) -> Vec<Action> {
        self.elapsed = self.machine.wake_at().unwrap().max(self.elapsed);
        self.due()
    }

    fn wait_s(&mut self) -> u64 {
        (self.machine.wake_at().unwrap() - self.elapsed).as_secs()
    }

    /// Waits for the next poll and answers it with the offer of bundle `n`.
    fn when_offered(&mut self, n: u8, position: u64) -> Vec<Action> {
        let mut assignment = assignment(n, wall());
        assignment.counter.position = position;
        self.when_polled(Input::Polled(Ok(LatestBundle::Offer(Box::new(offer(n, &assignment, "http://x"))))))
    }

    fn when_polled(&mut self, answer: Input) -> Vec<Action> {
        for _ in 0..10 {
            let due = self.wait();
            if due.iter().any(|action| matches!(action, Action::Beat(..))) {
                self.when(beat_ok());
            }
            if due.iter().any(|action| matches!(action, Action::Poll(_))) {
                return self.when(answer);
            }
        }
        panic!("no poll came");
    }

    /// The beat that is due at once.
    fn then_beat(&mut self) -> Beat {
        match &self.due()[..] {
            [Action::Beat(_, beat), ..] => beat.clone(),
            other => panic!("no beat but {other:?}"),
        }
    }
}

fn beat_ok() -> Input {
    let answer = HeartbeatAnswer {
        status: "ok".into(),
        node_id: identity().node_id,
        last_seen_at: wall(),
        next_heartbeat_s: 30,
    };
    Input::Beat(Ok(answer))
}

fn no_update() -> Input {
    Input::Polled(Ok(LatestBundle::NoUpdate(NoUpdate { no_update: true, poll_after_s: 30 })))
}

fn refused(status: u16, code: &str) -> CallError {
    CallError::refused(status, format!(r#"{{"error":"no","code":"{code}"}}"#).as_bytes(), None)
}

fn away() -> CallError {
    CallError::Unreachable("connection refused".into())
}

fn failure(n: u8, error: &str) -> Failure {
    Failure { bundle: bundle_id(n), error: error.into() }
}

#[test]
fn registers_then_gets_a_token_then_beats_and_polls() {
    let mut given = given(None, Progress::default());
    assert_eq!(given.due(), [Action::Register]);
    assert_eq!(given.machine.wake_at(), None, "nothing else until it is answered");
    given.when(Input::Registered(Err(RegisterError::Call(away()))));
    assert_eq!(given.due(), [], "not at once");
    assert_eq!(given.wait(), [Action::Register]);
    given.when(Input::Registered(Ok(identity())));
    assert_eq!(given.due(), [Action::FetchToken]);
    given.when(Input::Token(Ok(HOUR_S)));
    assert_eq!(given.due(), [Action::Beat(Credential::Token, Beat::default()), Action::Poll(Credential::Token)]);
}

#[test]
fn a_refused_registration_stops_with_advice() {
    for (error, advice) in [
        (refused(404, "not_found"), "project"),
        (refused(401, "invalid_credential"), "join_token_file"),
        (refused(422, "validation_failed"), "delete that node"),
    ] {
        let mut given = given(None, Progress::default());
        given.due();
        let actions = given.when(Input::Registered(Err(RegisterError::Call(error))));
        assert!(matches!(&actions[..], [Action::Stop(why)] if why.contains(advice)), "{actions:?}");
    }
    let mut given = given(None, Progress::default());
    given.due();
    given.when(Input::Registered(Err(RegisterError::Call(refused(503, "unavailable")))));
    assert_eq!(given.wait(), [Action::Register]);
}

#[test]
fn the_token_is_renewed_at_two_thirds_of_its_lifetime() {
    let mut given = given(Some(identity()), Progress::default());
    given.due();
    given.when(Input::Token(Ok(90)));
    given.due();
    given.elapsed = Duration::from_secs(59);
    assert_eq!(given.due(), []);
    given.elapsed = Duration::from_secs(60);
    assert_eq!(given.due(), [Action::FetchToken]);
}

#[test]
fn without_a_token_the_node_key_serves() {
    let mut given = given(Some(identity()), Progress::default());
    given.due();
    given.when(Input::Token(Err(refused(503, "no_signing_key"))));
    assert!(matches!(given.due()[..], [Action::Beat(Credential::Key, _), Action::Poll(Credential::Key)]));
    given.when(beat_ok());
    given.when(no_update());
    given.elapsed = Duration::from_secs(310);
    assert!(given.due().contains(&Action::FetchToken), "asked for again later");
}

#[test]
fn a_refused_token_is_replaced_before_the_next_call() {
    let mut given = running(on_bundle_1());
    given.wait();
    given.when(Input::Beat(Err(refused(401, "token_expired"))));
    given.when(no_update());
    assert_eq!(given.due(), [Action::FetchToken]);
    given.when(Input::Token(Ok(HOUR_S)));
    assert!(matches!(given.due()[..], [Action::Beat(Credential::Token, _)]), "at once");
    given.when(Input::Beat(Err(refused(401, "invalid_credential"))));
    given.due();
    given.when(Input::Token(Ok(HOUR_S)));
    assert_eq!(given.due(), [], "a second refusal waits");
}

#[test]
fn intervals_are_the_servers_unless_the_operator_fixed_them() {
    let mut given = running(on_bundle_1());
    assert_eq!(given.wait_s(), 30);
    let pace = Pace { poll: Some(Duration::from_secs(7)), wait: None, heartbeat: Some(Duration::from_secs(5)) };
    given.machine.pace = pace;
    given.wait();
    given.when(beat_ok());
    given.when(no_update());
    assert_eq!(given.wait_s(), 5);
    given.wait();
    assert_eq!(given.wait_s(), 2);
}

#[test]
fn retry_after_is_honoured() {
    let mut given = running(on_bundle_1());
    given.wait();
    let busy = CallError::refused(429, b"", Some(Duration::from_secs(100)));
    given.when(Input::Beat(Err(busy.clone())));
    given.when(Input::Polled(Err(busy)));
    assert!((100..=101).contains(&given.wait_s()));
}

#[test]
fn an_offer_is_fetched_activated_and_told_at_once() {
    let mut given = running(on_bundle_1());
    assert!(matches!(&given.when_offered(2, 2)[..], [Action::Fetch(found, _)] if *found == target(2)));
    assert!(matches!(&given.when(Input::Fetched(Ok(())))[..], [Action::Activate(found, before)]
        if *found == target(2) && *before == on_bundle_1()));
    let staged = Beat { active: Some(bundle_id(1)), staged: Some(bundle_id(2)), ..Beat::default() };
    assert_eq!(given.then_beat(), staged);
    let mut progress = on_bundle_1();
    progress.succeed(&target(2));
    given.when(Input::Activated(Box::new(Activated { progress, postponed: None })));
    assert_eq!(given.due(), [], "the beat that is under way does not tell it");
    given.when(beat_ok());
    assert_eq!(given.then_beat().active, Some(bundle_id(2)));
}

#[test]
fn a_failed_activation_is_told_until_it_is_heard() {
    let mut given = running(on_bundle_1());
    given.when_offered(2, 2);
    given.when(Input::Fetched(Ok(())));
    given.then_beat();
    given.when(beat_ok());
    let mut progress = on_bundle_1();
    progress.fail(&target(2), "exit status: 1".into());
    given.when(Input::Activated(Box::new(Activated { progress, postponed: None })));
    let failure = Some(failure(2, "exit status: 1"));
    let expected = Beat { active: Some(bundle_id(1)), staged: Some(bundle_id(2)), failure, switched: None };
    assert_eq!(given.then_beat(), expected);
    given.when(Input::Beat(Err(away())));
    assert!(matches!(&given.wait()[..], [Action::Beat(_, beat), ..] if *beat == expected));
    given.when(beat_ok());
    assert!(matches!(&given.when_offered(2, 2)[..], []), "the same assignment is not tried again");
    assert_eq!(given.then_beat(), expected, "but told again, should the server have lost it");
    given.when(beat_ok());
    assert!(matches!(&given.when_offered(2, 3)[..], [Action::Fetch(..)]), "a new assignment is");
}

#[test]
fn a_restart_tells_the_failure_again() {
    let mut progress = on_bundle_1();
    progress.fail(&target(2), "broken".into());
    let mut given = given(Some(identity()), progress);
    given.due();
    given.when(Input::Token(Ok(HOUR_S)));
    assert_eq!(given.then_beat().failure, Some(failure(2, "broken")));
}

#[test]
fn a_bundle_that_cannot_be_fetched_is_tried_again_and_reported() {
    let mut given = running(on_bundle_1());
    for attempt in 1..=FETCH_FAILURES_REPORTED {
        assert!(matches!(&given.when_offered(2, 2)[..], [Action::Fetch(..)]), "attempt {attempt}");
        given.when(Input::Fetched(Err(FetchError::Passing("no route".into()))));
        assert_eq!(given.machine.failure.is_some(), attempt == FETCH_FAILURES_REPORTED, "attempt {attempt}");
    }
    assert_eq!(given.then_beat().failure, Some(failure(2, "no route")));
}

#[test]
fn a_bundle_that_is_not_what_was_assigned_is_kept_as_failed() {
    let mut given = running(on_bundle_1());
    given.when_offered(2, 2);
    let actions = given.when(Input::Fetched(Err(FetchError::Final("wrong signature".into()))));
    let mut expected = on_bundle_1();
    expected.fail(&target(2), "wrong signature".into());
    assert_eq!(actions, [Action::Save(expected)]);
    assert_eq!(given.then_beat().failure, Some(failure(2, "wrong signature")));
}

#[test]
fn refused_offers_are_reported_and_stale_ones_are_not() {
    let mut given = running(on_bundle_1());
    let mut foreign = assignment(2, wall());
    foreign.org = "other".into();
    let foreign = Input::Polled(Ok(LatestBundle::Offer(Box::new(offer(2, &foreign, "http://x")))));
    assert_eq!(given.when_polled(foreign), []);
    let told = given.then_beat().failure.unwrap();
    assert_eq!((told.bundle, told.error.contains("another org")), (bundle_id(2), true));
    given.when(beat_ok());
    assert_eq!(given.when_offered(2, 0), []);
    assert_eq!(given.machine.failure, None);
}

#[test]
fn a_newer_assignment_of_the_active_bundle_only_raises_the_counter() {
    let mut given = running(on_bundle_1());
    let actions = given.when_offered(1, 9);
    assert!(
        matches!(&actions[..], [Action::Save(progress)] if progress.accepted.as_ref().unwrap().counter.position == 9)
    );
    assert_eq!(given.then_beat().active, Some(bundle_id(1)), "the server seems not to know");
}

#[test]
fn the_fleet_goes_on_while_the_control_plane_is_away() {
    let mut given = running(on_bundle_1());
    for _ in 0..100 {
        for action in given.wait() {
            match action {
                Action::Beat(..) => given.when(Input::Beat(Err(away()))),
                Action::Poll(_) => given.when(Input::Polled(Err(away()))),
                Action::FetchToken => given.when(Input::Token(Err(away()))),
                other => panic!("{other:?}"),
            };
        }
        assert!(given.wait_s() <= 60);
    }
    assert_eq!(given.machine.progress(), &on_bundle_1());
}
