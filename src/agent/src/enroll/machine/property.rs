//! Whatever the servers answer: random runs against what must always hold.

#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// One thing that may happen, for whichever action is under way.
#[derive(Clone, Debug)]
struct Luck {
    /// Below 3: it works, or says `state`.
    kind: u8,
    state: State,
    status: u16,
    retry_after_s: Option<u64>,
    /// Whether a 401 is about the challenge.
    challenge: bool,
    took: Duration,
}

fn luck() -> impl Strategy<Value = Luck> {
    use State::*;
    let states =
        prop::sample::select(vec![Pending, Pending, Pending, Approved, Approved, Rejected, Issued, Active, Revoked]);
    let statuses = prop::sample::select(vec![302, 400, 401, 403, 404, 405, 408, 409, 429, 429, 500, 503, 503]);
    let retry_after = prop::option::of(prop_oneof![0..100u64, Just(u64::MAX)]);
    let took = prop_oneof![0..3_000u64, 0..3_000_000u64].prop_map(Duration::from_millis);
    (0..8u8, states, statuses, retry_after, any::<bool>(), took).prop_map(
        |(kind, state, status, retry_after_s, challenge, took)| Luck {
            kind,
            state,
            status,
            retry_after_s,
            challenge,
            took,
        },
    )
}

impl Luck {
    fn error(&self) -> CallError {
        match self.kind {
            6 => CallError::Unreachable("no route".into()),
            7 => CallError::Malformed("not JSON".into()),
            _ => {
                let text = if self.challenge { CHALLENGE_REFUSED } else { "signature verification failed" };
                let body = format!("{{\"error\":\"{text}\"}}");
                CallError::refused(self.status, body.as_bytes(), self.retry_after_s.map(Duration::from_secs))
            }
        }
    }

    fn input(&self, action: &Action, n: usize) -> Input {
        let works = self.kind < 3;
        match action {
            Action::NewKey => Input::NewKey(if works { Ok(()) } else { Err("disk full".into()) }),
            Action::Challenge { .. } if works => {
                Input::Challenge(Ok(Challenge { id: format!("chl-{n}"), bytes: vec![0; 32] }))
            }
            Action::Challenge { .. } => Input::Challenge(Err(self.error())),
            Action::Enroll { .. } if works => Input::Enroll(Ok((format!("enr-{n}"), self.state))),
            Action::Enroll { .. } => Input::Enroll(Err(self.error())),
            Action::Follow { .. } => Input::Follow(match self.kind {
                0..3 if self.state == State::Pending => Followed::Ended,
                0..3 => Followed::State(self.state),
                3 => Followed::NoStream,
                _ => Followed::Failed(self.error()),
            }),
            Action::Ask { .. } if works => Input::Ask(Ok(self.state)),
            Action::Ask { .. } => Input::Ask(Err(self.error())),
            Action::Fetch { .. } => Input::Fetch(match self.kind {
                0..2 => Ok(()),
                2 => Err(FetchError::Unusable("for another key".into())),
                _ => Err(FetchError::Call(self.error())),
            }),
        }
    }
}

/// What was seen, to hold the next action against.
#[derive(Default)]
struct Seen {
    challenges: BTreeSet<String>,
    given: Option<String>,
    /// The enrollment that was seen approved or beyond.
    open: Option<String>,
    revoked: bool,
    new_keys: u32,
    /// By server: when it wants to be asked again.
    asked: Vec<Duration>,
    /// When the last calls began.
    calls: Vec<Duration>,
}

impl Seen {
    fn action(&mut self, action: &Action, now: Duration) {
        let url = match action {
            Action::NewKey => {
                self.new_keys += 1;
                assert!(self.revoked, "a new key only after a revocation");
                return;
            }
            Action::Challenge { url } => *url,
            Action::Enroll { url, challenge } => {
                assert_eq!(self.given.take().as_ref(), Some(&challenge.id), "the newest challenge");
                assert!(self.challenges.insert(challenge.id.clone()), "used twice");
                *url
            }
            Action::Follow { url, .. } | Action::Ask { url, .. } => *url,
            Action::Fetch { url, enrollment } => {
                assert_eq!(self.open.as_ref(), Some(enrollment), "not seen approved");
                *url
            }
        };
        assert!(now >= self.asked[url], "{action:?} at {now:?}, not before {:?}", self.asked[url]);
        self.calls.push(now);
    }

    fn input(&mut self, action: &Action, input: &Input, now: Duration) {
        let (state, id) = match (action, input) {
            (_, Input::Challenge(Ok(challenge))) => return self.given = Some(challenge.id.clone()),
            (_, Input::Enroll(Ok((id, state)))) => (*state, id.clone()),
            (Action::Follow { enrollment, .. }, Input::Follow(Followed::State(state))) => (*state, enrollment.clone()),
            (Action::Ask { enrollment, .. }, Input::Ask(Ok(state))) => (*state, enrollment.clone()),
            _ => return self.error(action, input, now),
        };
        self.revoked |= state == State::Revoked;
        if matches!(state, State::Approved | State::Issued | State::Active) {
            self.open = Some(id);
        }
    }

    fn error(&mut self, action: &Action, input: &Input, now: Duration) {
        let error = match input {
            Input::Challenge(Err(error)) | Input::Enroll(Err(error)) | Input::Ask(Err(error)) => error,
            Input::Follow(Followed::Failed(error)) | Input::Fetch(Err(FetchError::Call(error))) => error,
            _ => return,
        };
        let (Action::Challenge { url }
        | Action::Enroll { url, .. }
        | Action::Follow { url, .. }
        | Action::Ask { url, .. }
        | Action::Fetch { url, .. }) = action
        else {
            return;
        };
        if let (CallError::Refused { status: 429 | 503, .. }, Some(asked)) = (error, error.retry_after()) {
            self.asked[*url] = now + asked.min(crate::machine::pace::RETRY_AFTER_MAX);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]
    #[test]
    fn no_run_breaks_the_rules(
        urls in 1..4usize,
        again: bool,
        resumed: bool,
        seed: u64,
        lucks in prop::collection::vec(luck(), 1..120),
    ) {
        let known = Known { enrollment: resumed.then(|| "enr-0".to_owned()), refused: None };
        let mut machine = Machine::new(urls, known, again, seed);
        let mut now = Duration::ZERO;
        let mut seen = Seen { asked: vec![Duration::ZERO; urls], ..Seen::default() };
        for (n, luck) in lucks.iter().enumerate() {
            let action = loop {
                match machine.next(now) {
                    Next::Do(action) => break Some(action),
                    Next::Wait(until) => {
                        prop_assert!(until > now && until - now <= Duration::from_secs(2000), "{:?}", until - now);
                        now = until;
                    }
                    Next::Done | Next::Stop(_) => break None,
                }
            };
            let Some(action) = action else { break };
            seen.action(&action, now);
            now += luck.took;
            let input = luck.input(&action, n);
            seen.input(&action, &input, now);
            machine.handle(input, now);
        }
        prop_assert!(seen.new_keys <= u32::from(again));
        // What ended stays ended, whatever comes late.
        if let end @ (Next::Done | Next::Stop(_)) = machine.next(now) {
            machine.handle(Input::Ask(Ok(State::Approved)), now);
            prop_assert_eq!(machine.next(now + Duration::from_secs(1)), end);
        }
    }

    #[test]
    fn no_server_makes_a_host_call_like_mad(urls in 1..4usize, seed: u64, lucks in prop::collection::vec(luck(), 200)) {
        let mut machine = Machine::new(urls, Known::default(), true, seed);
        let mut now = Duration::ZERO;
        let mut calls = 0;
        for (n, luck) in lucks.iter().enumerate() {
            match machine.next(now) {
                Next::Do(action) => {
                    calls += 1;
                    // Every answer at once, and nothing ever final.
                    let luck = Luck { status: if luck.status < 500 { 429 } else { 503 }, ..luck.clone() };
                    let input = match luck.input(&action, n) {
                        Input::Fetch(Ok(())) | Input::Fetch(Err(FetchError::Unusable(_))) => {
                            Input::Fetch(Err(FetchError::Call(CallError::Unreachable("reset".into()))))
                        }
                        Input::Follow(Followed::State(_)) => Input::Follow(Followed::Ended),
                        Input::Enroll(Ok((id, _))) => Input::Enroll(Ok((id, State::Pending))),
                        Input::Ask(Ok(_)) => Input::Ask(Ok(State::Pending)),
                        other => other,
                    };
                    machine.handle(input, now);
                }
                Next::Wait(until) => now = until,
                Next::Done | Next::Stop(_) => break,
            }
        }
        // The way forward is four calls; beyond it a wait of half a second on average for each server.
        let allowed = 12 + 8 * urls as u64 + now.as_millis() as u64 / 100;
        prop_assert!(calls <= allowed, "{calls} calls in {now:?}");
    }
}
