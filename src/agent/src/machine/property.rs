//! Whatever a server answers and however the disk and the proxy behave: seeded, and a failing seed is named.

#![allow(clippy::unwrap_used)]
use super::pace::Random;
use super::*;
use crate::testing::{assignment, identity, offer};
use contract::NoUpdate;
use jiff::Timestamp;
use std::sync::LazyLock;
use trust::Counter;

const SEEDS: u64 = 60;
const STEPS: usize = 250;
const BUNDLES: u8 = 4;
const COUNTERS: u64 = 8;
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest that a server may silence a node, and a wait of its own.
const BEAT_WITHIN: Duration = Duration::from_secs(3600 + 900 + 120);

fn wall() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

/// Signed once: genuine ones by bundle and counter, then hostile ones.
static OFFERS: LazyLock<(Vec<Offer>, Vec<Offer>)> = LazyLock::new(|| {
    let offer_of = |n: u8, change: &dyn Fn(&mut trust::Assignment)| {
        let mut assignment = assignment(n, wall());
        change(&mut assignment);
        offer(n, &assignment, "http://x")
    };
    let pairs = (1..=BUNDLES).flat_map(|n| (1..=COUNTERS).map(move |position| (n, position)));
    let genuine = pairs.map(|(n, position)| offer_of(n, &|a| a.counter = Counter { epoch: 1, position })).collect();
    let mut unsigned = offer_of(3, &|_| {});
    unsigned.assignment["signature"] = unsigned.signature.clone().into();
    let newest = |a: &mut trust::Assignment| a.counter = Counter { epoch: 99, position: 1 };
    let hostile = vec![
        unsigned,
        Offer { assignment: serde_json::Value::Null, ..offer_of(3, &newest) },
        Offer { size_bytes: u64::MAX, ..offer_of(3, &newest) },
        offer_of(3, &|a| (newest(a), a.node_id = "other".into()).1),
        offer_of(3, &|a| (newest(a), a.expires_at = wall() - jiff::SignedDuration::from_hours(1)).1),
        offer_of(3, &|a| (newest(a), a.digest = "00".repeat(32)).1),
    ];
    (genuine, hostile)
});

struct World {
    machine: Machine,
    random: Random,
    elapsed: Duration,
    /// Actions that wait for their input.
    open: Vec<Action>,
    accepted: Option<Counter>,
    active: Option<BundleId>,
    last_beat: Duration,
    seed: u64,
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = Random::new(seed);
        let known = random.next().is_multiple_of(2).then(identity);
        let wait = random.next().is_multiple_of(2).then_some(Duration::from_secs(30));
        let pace = Pace { wait, ..Pace::default() };
        World {
            machine: Machine::new(pace, 1_000_000, known, Progress::default(), seed),
            random,
            elapsed: Duration::ZERO,
            open: Vec::new(),
            accepted: None,
            active: None,
            last_beat: Duration::ZERO,
            seed,
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.random.next() % bound as u64) as usize
    }

    fn now(&self) -> Now {
        Now { elapsed: self.elapsed, wall: wall() }
    }

    fn step(&mut self, kind: bool) {
        let due = self.machine.due(self.now());
        self.take(due);
        let answers = !self.open.is_empty() && (self.machine.wake_at().is_none() || self.below(3) > 0);
        if answers {
            let chosen = self.below(self.open.len());
            let action = self.open.swap_remove(chosen);
            let input = self.answer(action, kind);
            self.elapsed += Duration::from_millis(self.random.next() % 2000);
            let actions = self.machine.handle(input, self.now());
            self.take(actions);
        } else if let Some(wake) = self.machine.wake_at() {
            // A call that is under way ends, at the latest by its deadline.
            let until = if self.open.is_empty() { wake } else { wake.min(self.elapsed + CALL_TIMEOUT) };
            self.elapsed = self.elapsed.max(until);
        }
        self.hold();
    }

    fn take(&mut self, actions: Vec<Action>) {
        for action in actions {
            match &action {
                Action::Save(_) => {
                    let busy = self.open.iter().any(|open| matches!(open, Action::Activate(..)));
                    assert!(!busy, "seed {}: an activation keeps the progress itself", self.seed);
                    continue;
                }
                Action::Stop(why) => panic!("seed {}: stopped: {why}", self.seed),
                Action::Beat(..) => self.last_beat = self.elapsed,
                Action::Fetch(target, _) | Action::Activate(target, _) => {
                    let old = self.accepted.is_some_and(|accepted| target.counter < accepted);
                    assert!(!old, "seed {}: {target:?} after {:?}", self.seed, self.accepted);
                    assert_eq!(target.counter.epoch, 1, "seed {}: a hostile offer was taken", self.seed);
                }
                _ => {}
            }
            let kind = std::mem::discriminant(&action);
            let twice = self.open.iter().any(|open| std::mem::discriminant(open) == kind);
            assert!(!twice, "seed {}: {action:?} twice", self.seed);
            self.open.push(action);
        }
    }

    fn hold(&mut self) {
        let progress = self.machine.progress();
        let accepted = progress.accepted.as_ref().map(|accepted| accepted.counter);
        assert!(accepted >= self.accepted, "seed {}: {accepted:?} after {:?}", self.seed, self.accepted);
        let active = progress.active.as_ref().map(|active| active.id);
        assert_eq!(active, self.active, "seed {}: only an activation changes it", self.seed);
        self.accepted = accepted;
    }

    fn error(&mut self) -> CallError {
        let statuses = [401, 403, 404, 408, 422, 429, 500, 503];
        match self.below(4) {
            0 => CallError::Unreachable("no route".into()),
            1 => CallError::Malformed("not JSON".into()),
            _ => {
                let status = statuses[self.below(statuses.len())];
                let wait = (self.below(3) == 0).then(|| Duration::from_secs(self.random.next() % 100_000));
                CallError::refused(status, b"", wait)
            }
        }
    }

    fn answer(&mut self, action: Action, kind: bool) -> Input {
        let fails = !kind && self.below(3) == 0;
        match action {
            Action::Register if fails => {
                Input::Registered(Err(RegisterError::Call(CallError::Unreachable("no route".into()))))
            }
            Action::Register => Input::Registered(Ok(identity())),
            Action::FetchToken if fails => Input::Token(Err(self.error())),
            Action::FetchToken => Input::Token(Ok(self.random.next() as u32)),
            Action::Beat(..) if fails => Input::Beat(Err(self.error())),
            Action::Beat(..) => Input::Beat(Ok(HeartbeatAnswer {
                status: "ok".into(),
                node_id: String::new(),
                last_seen_at: wall(),
                next_heartbeat_s: (self.random.next() % 100) as u32,
            })),
            Action::Poll(_) if fails => Input::Polled(Err(self.error())),
            Action::Poll(_) => Input::Polled(Ok(self.latest(kind))),
            Action::Fetch(..) if fails => Input::Fetched(Err(match self.below(2) {
                0 => FetchError::Passing("cut off".into()),
                _ => FetchError::Final("wrong signature".into()),
            })),
            Action::Fetch(..) => Input::Fetched(Ok(())),
            Action::Activate(target, before) => Input::Activated(Box::new(self.activate(&target, before))),
            Action::Save(_) | Action::Stop(_) => unreachable!("never open"),
        }
    }

    fn latest(&mut self, kind: bool) -> LatestBundle {
        let (genuine, hostile) = &*OFFERS;
        let offers = match self.below(4) {
            0 | 1 if !kind => genuine,
            2 if !kind => hostile,
            _ => return LatestBundle::NoUpdate(NoUpdate { no_update: true, poll_after_s: 30 }),
        };
        LatestBundle::Offer(Box::new(offers[self.below(offers.len())].clone()))
    }

    fn activate(&mut self, target: &Target, before: Progress) -> Activated {
        let mut progress = before.clone();
        progress.begin(target);
        match self.below(4) {
            0 => return Activated { progress: before, postponed: Some("disk full".into()) },
            1 => {
                progress.fail(target, "exit status: 1".into());
                progress.recover();
            }
            _ => {
                progress.succeed(target);
                progress.tell(target, wall());
                self.active = Some(target.bundle.id);
            }
        }
        Activated { progress, postponed: None }
    }
}

#[test]
fn no_answer_and_no_failure_stops_the_beating_or_loses_the_bundle() {
    let mut activated = 0;
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        (0..STEPS).for_each(|_| world.step(false));
        activated += usize::from(world.active.is_some());
        // Kind again: it beats, and goes on beating.
        for _ in 0..3 {
            let (since, last) = (world.elapsed, world.last_beat);
            while world.last_beat == last {
                world.step(true);
                assert!(world.elapsed <= since + BEAT_WITHIN, "seed {seed}: no beat since {last:?}");
            }
        }
    }
    assert!(activated > SEEDS as usize / 2, "the runs do reach activations: {activated}");
}
