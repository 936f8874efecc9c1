use super::*;
use crate::HostId;
use proptest::prelude::{Just, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::strategy::Strategy;

const LIFETIME_S: i64 = 900;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn id(n: u8) -> EnrollmentId {
    EnrollmentId::from_parts(1_800_000_000 + u64::from(n), [n; 16])
}

fn slug(text: &str) -> Slug {
    text.parse().unwrap()
}

fn submission(n: u8, key: &str) -> Submission {
    let fact = Submitted {
        enrollment_id: id(n),
        public_key: key.to_owned(),
        curve_public_key: "X".to_owned(),
        hostname: None,
        metadata: BTreeMap::new(),
        remote_addr: "192.0.2.1".to_owned(),
        join_token_id: None,
        supersedes: None,
    };
    Submission { org: slug("default"), fact, key_blocked: false, key_elsewhere: false }
}

fn sha(_: i64, _: i64) -> Digest {
    "a".repeat(64).parse().unwrap()
}

/// One host and the steps that it and others take with it.
#[derive(Default)]
struct World {
    host: Option<Host>,
    position: u64,
}

impl World {
    fn apply(&mut self, event: &Event, actor: Actor, now: Timestamp) {
        self.position += 1;
        let (org, name) = (slug("default"), "web-01".parse::<HostId>().unwrap());
        match (&mut self.host, event) {
            (Some(host), event) => host.evolve(&org, event, &actor, now, Position(self.position)),
            (None, Event::Submitted(fact)) => {
                self.host = Some(Host::submitted((org, name), fact, now, Position(self.position)));
            }
            (None, _) => panic!("no host for {event:?}"),
        }
    }

    fn submit(&mut self, n: u8, key: &str, now: i64) -> Result<Admitted, SubmitRefusal> {
        let admitted = submit(self.host.as_ref(), submission(n, key), Renewal::Renew, at(now));
        if let Ok(Admitted::New(event) | Admitted::Renewed(_, event)) = &admitted {
            self.apply(event, Actor::Host("web-01".into()), at(now));
        }
        admitted
    }

    fn current(&self) -> Enrollment {
        self.host.as_ref().unwrap().current().clone()
    }

    fn step(&mut self, step: Step, now: i64) -> Result<(), Refusal> {
        let host = self.host.clone().unwrap();
        let current = host.current();
        let event = match step {
            Step::Approve => approve(current, None, None, None)?,
            Step::Reject => reject(current, None)?,
            Step::Issue => issue(&host, current, LIFETIME_S, at(now), sha)?,
            Step::Activate => match activate(current) {
                Some(event) => event,
                None => return Err(Refusal::State { verb: "activate", state: current.state }),
            },
            Step::Revoke => revoke(current, None, at(now))?,
        };
        self.apply(&event, Actor::Operator("UO".into()), at(now));
        Ok(())
    }

    fn with(steps: &[Step]) -> World {
        let mut world = World::default();
        world.submit(1, "UA", 0).unwrap();
        steps.iter().for_each(|step| world.step(*step, 0).unwrap());
        world
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Approve,
    Reject,
    Issue,
    Activate,
    Revoke,
}

use Step::{Activate, Approve, Issue, Reject, Revoke};

const WAYS: [(State, &[Step]); 6] = [
    (State::Pending, &[]),
    (State::Approved, &[Approve]),
    (State::Rejected, &[Reject]),
    (State::Issued, &[Approve, Issue]),
    (State::Active, &[Approve, Issue, Activate]),
    (State::Revoked, &[Approve, Revoke]),
];

#[test]
fn seven_transitions_and_no_other() {
    let allowed = [
        (State::Pending, Approve, State::Approved),
        (State::Pending, Reject, State::Rejected),
        (State::Approved, Issue, State::Issued),
        (State::Approved, Revoke, State::Revoked),
        (State::Issued, Activate, State::Active),
        (State::Issued, Revoke, State::Revoked),
        (State::Active, Revoke, State::Revoked),
    ];
    for (from, way) in WAYS {
        for step in [Approve, Reject, Issue, Activate, Revoke] {
            let mut world = World::with(way);
            assert_eq!(world.current().state, from);
            let taken = world.step(step, 0);
            match allowed.iter().find(|(state, wish, _)| (*state, *wish) == (from, step)) {
                Some((_, _, to)) => assert_eq!((taken, world.current().state), (Ok(()), *to), "{from:?} {step:?}"),
                None => {
                    let Err(Refusal::State { state, .. }) = taken else { panic!("{from:?} {step:?}") };
                    assert_eq!((state, world.current().state), (from, from));
                }
            }
        }
    }
    let refused = World::with(&[Reject]).step(Approve, 0).unwrap_err();
    assert_eq!(refused.to_string(), "cannot approve: state is rejected");
}

#[test]
fn another_key_gets_nothing_while_a_host_is_live() {
    for (state, way) in WAYS {
        let mut world = World::with(way);
        let before = world.host.clone();
        let refusal = match state {
            State::Pending => Some(SubmitRefusal::PendingUnderAnotherKey),
            State::Approved | State::Issued | State::Active => Some(SubmitRefusal::LiveUnderAnotherKey),
            State::Rejected | State::Revoked => None,
        };
        let admitted = world.submit(2, "UB", 1);
        match refusal {
            Some(refusal) => assert_eq!((admitted.unwrap_err(), &world.host), (refusal, &before)),
            None => assert!(matches!(admitted, Ok(Admitted::New(_))), "{state:?}"),
        }
    }
}

#[test]
fn the_same_key_is_known_while_pending_and_supersedes_afterwards() {
    assert_eq!(World::with(&[]).submit(2, "UA", 1), Ok(Admitted::Known(id(1))));
    for way in [&[Approve][..], &[Approve, Issue], &[Approve, Issue, Activate]] {
        let mut world = World::with(way);
        let issued = way.len() > 1;
        world.submit(2, "UA", 1).unwrap();
        let host = world.host.clone().unwrap();
        let old = host.get(&id(1)).unwrap();
        assert_eq!((old.state, host.current().state), (State::Revoked, State::Pending));
        assert_eq!(old.revoked.as_ref().unwrap().by, Actor::System);
        assert_eq!(old.decided.as_ref().unwrap().by, Actor::Operator("UO".into()), "the approval stays on record");
        let until = [Revocation { public_key: "UA".into(), until_s: 1, expires_at_s: LIFETIME_S }];
        assert_eq!(host.revocations, if issued { until.to_vec() } else { vec![] });
        assert_eq!(host.blocked, Vec::<String>::new(), "whoever has the key may come back");
        world.step(Approve, 1).unwrap();
        world.step(Issue, 1).unwrap();
        let first_s = if issued { 2 } else { 1 };
        assert_eq!(world.current().issued.unwrap().issued_at_s, first_s, "no new JWT is dead on arrival");
    }
}

#[test]
fn an_operator_blocks_a_key_and_the_system_does_not() {
    let world = World::with(&[Approve, Issue, Revoke]);
    let host = world.host.unwrap();
    assert_eq!(host.blocked, ["UA"]);
    assert_eq!(host.revocations, [Revocation { public_key: "UA".into(), until_s: 0, expires_at_s: LIFETIME_S }]);
    let blocked = Submission { key_blocked: true, ..submission(2, "UA") };
    assert_eq!(submit(Some(&host), blocked, Renewal::Renew, at(1)), Err(SubmitRefusal::KeyRevoked));
    let elsewhere = Submission { key_elsewhere: true, ..submission(2, "UC") };
    assert_eq!(submit(None, elsewhere, Renewal::Renew, at(1)), Err(SubmitRefusal::KeyElsewhere));
}

#[test]
fn an_approval_is_for_the_key_that_was_looked_at() {
    let enrollment = World::with(&[]).current();
    assert_eq!(approve(&enrollment, Some("UB"), None, None), Err(Refusal::OtherKey));
    assert!(approve(&enrollment, Some("UA"), None, None).is_ok());
}

#[test]
fn credentials_are_renewed_in_the_last_third_only() {
    let issued = || World::with(&[Approve, Issue, Activate]);
    let mut world = issued();
    assert!(matches!(world.submit(2, "UA", 599), Ok(Admitted::New(_))), "early: it has lost them");
    let mut world = issued();
    assert!(matches!(world.submit(2, "UA", 600), Ok(Admitted::Renewed(known, _)) if known == id(1)));
    assert_eq!((world.current().state, world.current().shown_state()), (State::Active, State::Approved));
    assert_eq!(world.submit(3, "UA", 601), Ok(Admitted::Known(id(1))));
    world.step(Issue, 602).unwrap();
    let renewed = world.current();
    assert_eq!((renewed.state, renewed.renewing), (State::Active, false));
    assert_eq!(renewed.issued.unwrap().expires_at_s, 602 + LIFETIME_S);
    assert_eq!(
        world.step(Issue, 603),
        Err(Refusal::State { verb: "issue", state: State::Active }),
        "one renewal, one JWT"
    );
    assert!(matches!(issued().submit(2, "UA", 900), Ok(Admitted::New(_))), "what has ended is not renewed");
    let by = |renewal, now| submit(issued().host.as_ref(), submission(2, "UA"), renewal, at(now));
    assert!(matches!(by(Renewal::Manual, 600), Ok(Admitted::New(_))));
    assert_eq!(by(Renewal::Never, 600), Err(SubmitRefusal::NoRenewal));
    assert!(matches!(by(Renewal::Never, 900), Ok(Admitted::New(_))));
}

#[test]
fn only_what_waits_long_enough_expires() {
    let pending = World::with(&[]).current();
    assert_eq!(expire(&pending, at(-1)), None);
    let event = expire(&pending, at(0)).unwrap();
    let mut world = World::with(&[]);
    world.apply(&event, Actor::System, at(9));
    assert_eq!(world.current().state, State::Rejected);
    assert_eq!(world.current().decided.unwrap().by, Actor::System);
    assert_eq!(expire(&World::with(&[Approve]).current(), at(9)), None);
}

#[derive(Clone, Debug)]
enum Wish {
    Submit(bool),
    Step(Step),
    Passes(i64),
}

fn wish() -> impl Strategy<Value = Wish> {
    let step = prop_oneof![
        3 => Just(Approve),
        1 => Just(Reject),
        3 => Just(Issue),
        2 => Just(Activate),
        1 => Just(Revoke),
    ];
    prop_oneof![
        3 => any::<bool>().prop_map(Wish::Submit),
        6 => step.prop_map(Wish::Step),
        1 => (0..700i64).prop_map(Wish::Passes),
    ]
}

proptest! {
    /// Whatever happens: one live enrollment at most, no JWT that a revocation reaches, nothing that cannot go on.
    #[test]
    fn a_host_is_live_once_and_never_wedged(wishes in prop::collection::vec(wish(), 1..60)) {
        let (mut world, mut now, mut count) = (World::default(), 0, 0u8);
        for wish in wishes {
            match wish {
                Wish::Submit(other) => {
                    count += 1;
                    let key = if other { "UB" } else { "UA" };
                    let key = format!("{key}{}", world.host.as_ref().map_or(0, |host| host.blocked.len()));
                    let _ = world.submit(count, &key, now);
                }
                Wish::Step(step) if world.host.is_some() => {
                    let _ = world.step(step, now);
                }
                Wish::Step(_) => {}
                Wish::Passes(seconds) => now += seconds,
            }
            let Some(host) = &world.host else { continue };
            let live = host.enrollments.iter().filter(|enrollment| enrollment.state.is_live()).count();
            prop_assert!(live <= 1);
            prop_assert!(live == 0 || host.current().state.is_live());
            for enrollment in host.enrollments.iter().filter(|enrollment| enrollment.state.is_live()) {
                let issued = enrollment.issued.as_ref().map(|issued| issued.issued_at_s);
                let reached = |revocation: &&Revocation| {
                    revocation.public_key == enrollment.public_key && issued.is_some_and(|at| at <= revocation.until_s)
                };
                prop_assert_eq!(host.revocations.iter().find(reached), None);
            }
            let exits = host.current().state.is_live() || submit(
                Some(host), submission(99, "UNEW"), Renewal::Renew, at(now)).is_ok();
            prop_assert!(exits);
        }
    }
}
