#![allow(clippy::unwrap_used)]
use super::*;

const ID: &str = "enr-1";

/// A machine and the time that it is shown.
struct Run {
    machine: Machine,
    now: Duration,
}

fn given(urls: usize, known: Known, again: bool) -> Run {
    Run { machine: Machine::new(urls, known, again, 7), now: Duration::ZERO }
}

fn fresh() -> Run {
    given(1, Known::default(), false)
}

fn under_way() -> Known {
    Known { enrollment: Some(ID.to_owned()), refused: None }
}

fn refused_before(refused: Refused) -> Known {
    Known { enrollment: None, refused: Some(refused) }
}

fn challenge(n: u8) -> Challenge {
    Challenge { id: format!("chl-{n}"), bytes: vec![n; 32] }
}

fn answer(status: u16) -> CallError {
    CallError::refused(status, b"", None)
}

fn error(status: u16, text: &str, retry_after_s: Option<u64>) -> CallError {
    let body = format!("{{\"error\":\"{text}\"}}");
    CallError::refused(status, body.as_bytes(), retry_after_s.map(Duration::from_secs))
}

fn submitted(state: State) -> Input {
    Input::Enroll(Ok((ID.to_owned(), state)))
}

impl Run {
    /// What is done next, and how long it takes until then.
    fn action(&mut self) -> (Action, Duration) {
        let before = self.now;
        for _ in 0..3 {
            match self.machine.next(self.now) {
                Next::Do(action) => return (action, self.now - before),
                Next::Wait(until) => {
                    assert!(until > self.now);
                    self.now = until;
                }
                end => panic!("{end:?}"),
            }
        }
        panic!("it only waits");
    }

    /// The next action, which came without a wait.
    fn at_once(&mut self) -> Action {
        let (action, waited) = self.action();
        assert_eq!(waited, Duration::ZERO, "{action:?}");
        action
    }

    fn gives(&mut self, input: Input) -> &mut Run {
        self.machine.handle(input, self.now);
        self
    }

    /// Goes through challenge and submission, and is told a state.
    fn enrolls(&mut self, state: State) {
        let (Action::Challenge { url }, _) = self.action() else { panic!("no challenge") };
        self.gives(Input::Challenge(Ok(challenge(1))));
        assert_eq!(self.at_once(), Action::Enroll { url, challenge: challenge(1) });
        self.gives(submitted(state));
    }

    fn stopped(&mut self) -> Stop {
        match self.machine.next(self.now) {
            Next::Stop(stop) => stop,
            other => panic!("{other:?}"),
        }
    }

    fn is_done(&mut self) -> bool {
        self.machine.next(self.now) == Next::Done
    }
}

fn follow(url: usize) -> Action {
    Action::Follow { url, enrollment: ID.to_owned() }
}

fn ask(url: usize) -> Action {
    Action::Ask { url, enrollment: ID.to_owned() }
}

fn fetch(url: usize) -> Action {
    Action::Fetch { url, enrollment: ID.to_owned() }
}

#[test]
fn the_straight_way_is_followed_without_a_wait() {
    let mut run = fresh();
    run.enrolls(State::Pending);
    assert_eq!(run.machine.known(), &under_way());
    assert_eq!(run.at_once(), follow(0));
    run.gives(Input::Follow(Followed::State(State::Approved)));
    assert_eq!(run.at_once(), fetch(0));
    assert!(run.gives(Input::Fetch(Ok(()))).is_done());
    assert_eq!(run.machine.known(), &Known::default());
}

#[test]
fn an_approval_at_once_needs_no_waiting() {
    let mut run = fresh();
    run.enrolls(State::Approved);
    assert_eq!(run.at_once(), fetch(0));
}

#[test]
fn what_was_under_way_goes_on_by_asking() {
    for (state, next) in [(State::Pending, follow(0)), (State::Approved, fetch(0)), (State::Issued, fetch(0))] {
        let mut run = given(1, under_way(), false);
        assert_eq!(run.at_once(), ask(0));
        run.gives(Input::Ask(Ok(state)));
        assert_eq!(run.at_once(), next);
    }
}

#[test]
fn a_refused_challenge_is_replaced_twice() {
    let mut run = fresh();
    for n in 1..=3 {
        let (action, waited) = run.action();
        assert_eq!(action, Action::Challenge { url: 0 });
        assert!(waited <= FAILOVER_SPREAD);
        run.gives(Input::Challenge(Ok(challenge(n))));
        assert_eq!(run.at_once(), Action::Enroll { url: 0, challenge: challenge(n) }, "a new one each time");
        run.gives(Input::Enroll(Err(error(401, CHALLENGE_REFUSED, None))));
    }
    assert!(matches!(run.stopped(), Stop::Failed(why) if why.contains("3 times")));
}

#[test]
fn other_refusals_of_a_submission_are_final() {
    for (status, text) in [(400, "invalid curve_public_key"), (401, "signature verification failed"), (403, "no")] {
        let mut run = fresh();
        run.at_once();
        run.gives(Input::Challenge(Ok(challenge(1)))).at_once();
        run.gives(Input::Enroll(Err(error(status, text, None))));
        let (Stop::Failed(why) | Stop::Refused(why)) = run.stopped();
        assert!(why.contains(text), "{why}");
    }
    let mut run = fresh();
    run.at_once();
    run.gives(Input::Challenge(Err(error(404, "Not found", None))));
    assert!(matches!(run.stopped(), Stop::Failed(why) if why.contains("enroll_urls")));
}

#[test]
fn a_key_that_was_revoked_is_replaced_only_if_told_to() {
    for again in [false, true] {
        let mut run = given(1, Known::default(), again);
        run.at_once();
        run.gives(Input::Challenge(Ok(challenge(1)))).at_once();
        run.gives(Input::Enroll(Err(answer(403).or_code(Some(ErrorCode::KeyRevoked)))));
        if again {
            assert_eq!(run.at_once(), Action::NewKey);
        } else {
            assert!(matches!(run.stopped(), Stop::Refused(why) if why.contains("revoked")));
            assert_eq!(run.machine.known(), &refused_before(Refused::Revoked));
        }
    }
}

#[test]
fn a_taken_id_is_tried_slowly_and_not_for_ever() {
    let mut run = fresh();
    let mut waits = Vec::new();
    for _ in 0..CONFLICTS_MAX {
        waits.push(run.action().1);
        run.gives(Input::Challenge(Ok(challenge(1)))).at_once();
        run.gives(Input::Enroll(Err(error(409, "taken", None))));
    }
    assert!(matches!(run.stopped(), Stop::Refused(why) if why.contains("host_id") && why.contains("taken")));
    assert!(waits[1..].iter().zip([30, 60, 120, 240]).all(|(wait, s)| *wait >= Duration::from_secs(s)), "{waits:?}");
}

#[test]
fn a_busy_server_is_obeyed_at_every_step() {
    let busy = || error(429, "rate limit exceeded", Some(40));
    let inputs: [(fn() -> Run, Input); 5] = [
        (fresh, Input::Challenge(Err(busy()))),
        (
            || {
                let mut run = fresh();
                run.at_once();
                run.gives(Input::Challenge(Ok(challenge(1))));
                run
            },
            Input::Enroll(Err(busy())),
        ),
        (
            || {
                let mut run = fresh();
                run.enrolls(State::Pending);
                run
            },
            Input::Follow(Followed::Failed(busy())),
        ),
        (|| given(1, under_way(), false), Input::Ask(Err(busy()))),
        (
            || {
                let mut run = fresh();
                run.enrolls(State::Approved);
                run
            },
            Input::Fetch(Err(FetchError::Call(busy()))),
        ),
    ];
    for (run, input) in inputs {
        let mut run = run();
        run.at_once();
        run.gives(input);
        let (action, waited) = run.action();
        assert!((Duration::from_secs(40)..Duration::from_secs(60)).contains(&waited), "{action:?} after {waited:?}");
    }
}

#[test]
fn a_server_that_is_away_is_replaced_and_the_one_that_answers_is_kept() {
    let away = || CallError::Unreachable("no route".into());
    let mut run = given(2, Known::default(), false);
    assert_eq!(run.at_once(), Action::Challenge { url: 0 });
    let (action, waited) = run.gives(Input::Challenge(Err(away()))).action();
    assert_eq!(action, Action::Challenge { url: 1 });
    assert!(waited <= FAILOVER_SPREAD);
    run.gives(Input::Challenge(Ok(challenge(1))));
    assert_eq!(run.at_once(), Action::Enroll { url: 1, challenge: challenge(1) });
    // Whether it arrived is not known, so the other one gets a challenge of its own.
    assert_eq!(run.gives(Input::Enroll(Err(answer(502)))).action().0, Action::Challenge { url: 0 });
    run.gives(Input::Challenge(Ok(challenge(2)))).at_once();
    run.gives(submitted(State::Pending));
    assert_eq!(run.at_once(), follow(0));
    assert_eq!(run.gives(Input::Follow(Followed::Failed(answer(503)))).action().0, follow(1));
}

#[test]
fn a_stream_that_ends_is_opened_again_and_one_that_lives_never_counts_as_failed() {
    let mut run = fresh();
    run.enrolls(State::Pending);
    for _ in 0..10 {
        let (action, waited) = run.action();
        assert_eq!(action, follow(0));
        assert!(waited <= STREAM_SPREAD);
        run.now += Duration::from_secs(1800);
        run.gives(Input::Follow(Followed::Ended));
    }
    for _ in 0..STREAM_FAILURES_MAX {
        assert_eq!(run.action().0, follow(0));
        run.gives(Input::Follow(Followed::Ended));
    }
    assert_eq!(run.action().0, ask(0), "a stream that ends at once is of no use");
}

#[test]
fn without_a_stream_it_is_asked_at_intervals_that_grow_and_now_and_then_followed() {
    let mut run = fresh();
    run.enrolls(State::Pending);
    run.at_once();
    run.gives(Input::Follow(Followed::NoStream));
    assert_eq!(run.at_once(), ask(0));
    let (mut waits, mut follows) = (Vec::new(), 0);
    run.gives(Input::Ask(Ok(State::Pending)));
    for _ in 0..20 {
        match run.action() {
            (Action::Follow { .. }, _) => {
                follows += 1;
                run.gives(Input::Follow(Followed::NoStream));
                assert_eq!(run.at_once(), ask(0));
            }
            (action, waited) => {
                assert_eq!(action, ask(0));
                waits.push(waited.as_secs_f64());
            }
        }
        run.gives(Input::Ask(Ok(State::Pending)));
    }
    assert_eq!(follows, 3);
    assert!((7.5..=12.5).contains(&waits[0]) && (15.0..=25.0).contains(&waits[1]), "{waits:?}");
    assert!(waits.iter().all(|wait| *wait <= 375.0) && waits.iter().rev().take(5).all(|wait| *wait >= 225.0));
}

#[test]
fn a_refusal_ends_it_and_is_remembered() {
    for (state, refused) in [(State::Rejected, Refused::Rejected), (State::Revoked, Refused::Revoked)] {
        let mut run = fresh();
        run.enrolls(State::Pending);
        run.at_once();
        run.gives(Input::Follow(Followed::State(state)));
        assert!(matches!(run.stopped(), Stop::Refused(why) if why.contains("--enroll-again")));
        assert_eq!(run.machine.known(), &refused_before(refused));
        let mut later = given(1, refused_before(refused), false);
        assert!(matches!(later.stopped(), Stop::Refused(_)), "a restart asks nobody");
    }
}

#[test]
fn told_to_it_enrolls_once_more_and_after_a_revocation_with_a_new_key() {
    let mut run = given(1, refused_before(Refused::Rejected), true);
    run.enrolls(State::Rejected);
    assert!(matches!(run.stopped(), Stop::Refused(_)), "once");
    let mut run = given(1, refused_before(Refused::Revoked), true);
    assert_eq!(run.at_once(), Action::NewKey);
    run.gives(Input::NewKey(Ok(())));
    assert_eq!(run.machine.known(), &Known::default());
    run.enrolls(State::Pending);
    let mut run = given(1, refused_before(Refused::Revoked), true);
    run.at_once();
    run.gives(Input::NewKey(Err("disk full".into())));
    assert_eq!(run.stopped(), Stop::Failed("disk full".into()));
}

#[test]
fn lost_credentials_are_asked_for_again_and_if_gone_enrolled_for_anew() {
    let mut run = fresh();
    run.enrolls(State::Approved);
    run.at_once();
    run.gives(Input::Fetch(Err(FetchError::Call(CallError::Unreachable("reset".into())))));
    assert_eq!(run.action().0, fetch(0), "the same call");
    run.gives(Input::Fetch(Err(FetchError::Call(answer(409)))));
    assert_eq!(run.at_once(), ask(0));
    run.gives(Input::Ask(Ok(State::Issued)));
    assert_eq!(run.action().0, Action::Challenge { url: 0 });
    assert_eq!(run.machine.known(), &Known::default());
}

#[test]
fn a_server_behind_the_others_is_borne_with_and_one_that_contradicts_itself_is_not() {
    let forbidden = || Input::Fetch(Err(FetchError::Call(answer(403))));
    let mut run = fresh();
    run.enrolls(State::Approved);
    for _ in 0..FETCH_REFUSALS_MAX {
        assert_eq!(run.action().0, fetch(0));
        run.gives(forbidden());
        assert_eq!(run.at_once(), ask(0));
        run.gives(Input::Ask(Ok(State::Approved)));
    }
    assert_eq!(run.action().0, fetch(0));
    run.gives(forbidden());
    assert!(matches!(run.stopped(), Stop::Failed(_)));
}

#[test]
fn an_enrollment_that_nobody_knows_is_begun_again_but_not_for_ever() {
    let mut run = given(1, under_way(), false);
    let mut begun = 0;
    for _ in 0..100 {
        if matches!(run.machine.next(run.now), Next::Stop(_)) {
            break;
        }
        match run.action().0 {
            Action::Challenge { .. } => {
                begun += 1;
                run.gives(Input::Challenge(Ok(challenge(1)))).at_once();
                run.gives(submitted(State::Pending));
            }
            Action::Follow { .. } => drop(run.gives(Input::Follow(Followed::Failed(answer(404))))),
            _ => drop(run.gives(Input::Ask(Err(answer(404))))),
        }
    }
    assert!(matches!(run.stopped(), Stop::Failed(_)));
    assert_eq!(begun, RESTARTS_MAX);
}

#[test]
fn credentials_of_no_use_are_not_taken_for_long() {
    let mut run = given(2, Known::default(), false);
    run.enrolls(State::Approved);
    for n in 0..UNUSABLE_MAX {
        assert_eq!(run.action().0, fetch(n as usize % 2));
        run.gives(Input::Fetch(Err(FetchError::Unusable("for another key".into()))));
    }
    assert_eq!(run.stopped(), Stop::Failed("for another key".into()));
}
