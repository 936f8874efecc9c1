//! What every journal does. Written for a caller that honours the contract: an unknown outcome is settled by repeating the very
//! same append.

use crate::{fact, take};
use domain::Position;
use futures_util::future::join_all;
use journal::{Append, FactQuestion, Facts, Guard, JournalReader, JournalWriter, Outcome, StoreError};

const ATTEMPTS_MAX: usize = 100;

pub async fn journal(backend: &(impl JournalWriter + JournalReader)) {
    expectations(backend).await;
    names_are_unique(backend).await;
    repeats(backend).await;
    one_of_many_wins(backend).await;
    batches(backend).await;
    refused_batches(backend).await;
    many_in_flight(backend).await;
    following(backend).await;
    looking_up(backend).await;
}

async fn expectations(backend: &(impl JournalWriter + JournalReader)) {
    let first = stored(settle(backend, fact("exp", "n1", "registered", Position::START, "a.0")).await);
    let again = settle(backend, fact("exp", "n1", "registered", Position::START, "b.0")).await;
    assert_lost(again, first);
    let second = stored(settle(backend, fact("exp", "n1", "seen", first, "c.0")).await);
    assert!(second > first);
    assert_lost(settle(backend, fact("exp", "n1", "seen", first, "d.0")).await, second);
    // Another aggregate is another matter.
    stored(settle(backend, fact("exp", "n2", "registered", Position::START, "e.0")).await);
    assert_lost(settle(backend, fact("exp", "n1", "seen", Position(second.0 + 1000), "f.0")).await, second);
}

async fn names_are_unique(backend: &impl JournalWriter) {
    let register = |node: &str, expected, message_id: &str| {
        let filter = "fleet.uniq.p.node.*.registered".to_owned();
        Append { guard: Guard { filter, expected }, ..fact("uniq", node, "registered", expected, message_id) }
    };
    let first = stored(settle(backend, register("n1", Position::START, "a.0")).await);
    assert_lost(settle(backend, register("n2", Position::START, "b.0")).await, first);
    // Facts of the same node that are not registrations do not count.
    stored(settle(backend, fact("uniq", "n1", "seen", first, "c.0")).await);
    let second = stored(settle(backend, register("n2", first, "d.0")).await);
    assert!(second > first);
}

async fn repeats(backend: &(impl JournalWriter + JournalReader)) {
    let append = fact("rep", "n1", "registered", Position::START, "a.0");
    let first = stored(settle(backend, append.clone()).await);
    let repeat = Outcome::Committed { position: first, duplicate: true };
    assert_eq!(settle(backend, append.clone()).await, repeat);
    let second = stored(settle(backend, fact("rep", "n1", "seen", first, "b.0")).await);
    assert_eq!(settle(backend, append.clone()).await, repeat, "also when the aggregate has moved on");
    // The same command decided again on newer state is still the same command.
    let decided_again = Append { guard: Guard { expected: second, ..append.guard.clone() }, ..append };
    assert_eq!(settle(backend, decided_again).await, repeat);
}

async fn one_of_many_wins(backend: &impl JournalWriter) {
    let racers = (0..32).map(|n| {
        let append = fact("race", "n1", "registered", Position::START, &format!("{n}.0"));
        settle(backend, append)
    });
    let outcomes = join_all(racers).await;
    let won: Vec<_> = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Committed { .. })).collect();
    let lost = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Conflict { .. })).count();
    assert_eq!((won.len(), lost), (1, 31), "{outcomes:?}");
}

async fn batches(backend: &(impl JournalWriter + JournalReader)) {
    let before = last(backend).await;
    let batch = vec![
        fact("bat", "n1", "registered", Position::START, "a.0"),
        fact("bat", "n2", "registered", Position::START, "a.1"),
        fact("bat", "n1", "seen", Position::START, "a.2"),
    ];
    let end = stored(settle_batch(backend, batch.clone()).await);
    let facts = take(&mut backend.follow(before), 3).await;
    let seen: Vec<_> = facts.iter().map(|f| (f.position.0, f.subject.as_str(), f.batch_end)).collect();
    assert_eq!(
        seen,
        [
            (end.0 - 2, "fleet.bat.p.node.n1.registered", false),
            (end.0 - 1, "fleet.bat.p.node.n2.registered", false),
            (end.0, "fleet.bat.p.node.n1.seen", true),
        ]
    );
    assert!(facts.iter().zip(&batch).all(|(fact, append)| fact.body == append.body));
    let repeat = settle_batch(backend, batch).await;
    assert_eq!(repeat, Outcome::Committed { position: end, duplicate: true });
    let single = fact("bat", "n3", "registered", Position::START, "b.0");
    let end = stored(settle_batch(backend, vec![single]).await);
    let fact = take(&mut backend.follow(Position(end.0 - 1)), 1).await.remove(0);
    assert!(fact.batch_end);
}

async fn refused_batches(backend: &(impl JournalWriter + JournalReader)) {
    let held = stored(settle(backend, fact("ref", "n1", "registered", Position::START, "a.0")).await);
    let before = last(backend).await;
    let stale = vec![
        fact("ref", "n2", "registered", Position::START, "b.0"),
        fact("ref", "n1", "seen", Position::START, "b.1"),
    ];
    assert!(matches!(settle_batch(backend, stale).await, Outcome::Conflict { .. }));
    assert_eq!(last(backend).await, before, "nothing of a refused batch is stored");
    let both = vec![fact("ref", "n1", "seen", held, "c.0"), fact("ref", "n1", "seen", Position(held.0 + 1), "c.1")];
    assert!(matches!(settle_batch(backend, both).await, Outcome::Conflict { .. }), "two expectations of one aggregate");
    assert!(matches!(backend.append_batch(Vec::new()).await, Outcome::Unknown(_)));
    let stranger = Append { subject: "append.ref.p.node.n9.x".to_owned(), ..fact("ref", "n9", "x", held, "d.0") };
    assert!(matches!(backend.append(stranger).await, Outcome::Unknown(_)));
    assert_eq!(last(backend).await, before);
}

async fn many_in_flight(backend: &(impl JournalWriter + JournalReader)) {
    let before = last(backend).await;
    let appends = (0..500).map(|n| {
        let append = fact("many", &format!("n{n}"), "registered", Position::START, &format!("{n}.0"));
        settle(backend, append)
    });
    let mut positions: Vec<u64> = join_all(appends).await.into_iter().map(|outcome| stored(outcome).0).collect();
    positions.sort_unstable();
    assert_eq!(positions, (before.0 + 1..=before.0 + 500).collect::<Vec<_>>());
    let facts = take(&mut backend.follow(before), 500).await;
    assert!(facts.iter().map(|fact| fact.position.0).eq(positions), "in order and without gaps");
}

async fn looking_up(backend: &(impl JournalWriter + JournalReader)) {
    let mut expected = Position::START;
    let mut seen = Vec::new();
    for n in 0..5 {
        let (name, body) = if n == 2 { ("other", "x") } else { ("seen", "0123456789") };
        let append = Append { body: body.into(), ..fact("look", "n1", name, expected, &format!("{n}.0")) };
        expected = stored(settle(backend, append).await);
        seen.extend((n != 2).then_some(expected));
    }
    stored(settle(backend, fact("look", "n2", "seen", Position::START, "z.0")).await);
    let ask = async |after: Position, facts_max, bytes_max| {
        let filter = "fleet.look.p.node.n1.seen".to_owned();
        let question = FactQuestion { filter, after, facts_max, bytes_max };
        let facts = found(backend, question).await;
        let right = |fact: &&journal::Stored| fact.body.as_ref() == b"0123456789" && fact.batch_end;
        assert_eq!(facts.found.iter().filter(right).count(), facts.found.len());
        (facts.found.iter().map(|fact| fact.position).collect::<Vec<_>>(), facts.is_cut)
    };
    assert_eq!(ask(Position::START, 10, 1000).await, (seen.clone(), false));
    assert_eq!(ask(Position::START, 4, 1000).await, (seen.clone(), false), "exactly as many as there are");
    assert_eq!(ask(Position::START, 3, 1000).await, (seen[..3].to_vec(), true));
    assert_eq!(ask(seen[2], 3, 1000).await, (seen[3..].to_vec(), false));
    assert_eq!(ask(Position::START, 10, 15).await, (seen[..2].to_vec(), true), "bytes are bounded too");
    for after in [seen[3], Position(u64::MAX)] {
        assert_eq!(ask(after, 3, 1000).await, (Vec::new(), false));
    }
    let batch = ["registered", "seen"].map(|name| fact("look", "n3", name, Position::START, &format!("b.{name}")));
    let batch = vec![
        batch[0].clone(),
        Append { guard: fact("look", "n4", "x", Position::START, "").guard, ..batch[1].clone() },
    ];
    let end = stored(settle_batch(backend, batch).await);
    let question = FactQuestion {
        filter: "fleet.look.p.node.n3.>".to_owned(),
        after: Position::START,
        facts_max: 10,
        bytes_max: 1000,
    };
    let facts = found(backend, question).await.found;
    let ends: Vec<_> = facts.iter().map(|fact| (fact.position.0, fact.batch_end)).collect();
    assert_eq!(ends, [(end.0 - 1, false), (end.0, true)]);
}

async fn found(backend: &impl JournalReader, question: FactQuestion) -> Facts {
    for _ in 0..ATTEMPTS_MAX {
        match backend.facts(question.clone()).await {
            Err(StoreError::Unavailable(_)) => {}
            facts => return facts.unwrap(),
        }
    }
    panic!("no answer after {ATTEMPTS_MAX} attempts")
}

async fn following(backend: &(impl JournalWriter + JournalReader)) {
    let before = last(backend).await;
    let mut all = backend.follow(Position::START);
    let old = take(&mut all, before.0 as usize).await;
    assert!(old.iter().map(|fact| fact.position.0).eq(1..=before.0));
    // Already listening when they come.
    let mut expected = Position::START;
    for n in 0..20 {
        expected = stored(settle(backend, fact("fol", "n1", "seen", expected, &format!("{n}.0"))).await);
    }
    let new = take(&mut all, 20).await;
    assert!(new.iter().map(|fact| fact.position.0).eq(before.0 + 1..=before.0 + 20));
    assert_eq!(new.last().unwrap().body, "{\"id\":\"19.0\"}");
    assert!(new.windows(2).all(|pair| pair[0].time <= pair[1].time));
    assert_eq!(take(&mut backend.follow(Position(before.0 + 7)), 13).await, new[7..]);
}

/// Repeats until the outcome is known.
pub async fn settle(backend: &impl JournalWriter, append: Append) -> Outcome {
    for _ in 0..ATTEMPTS_MAX {
        match backend.append(append.clone()).await {
            Outcome::Unknown(_) => {}
            outcome => return outcome,
        }
    }
    panic!("no outcome after {ATTEMPTS_MAX} attempts")
}

async fn settle_batch(backend: &impl JournalWriter, batch: Vec<Append>) -> Outcome {
    for _ in 0..ATTEMPTS_MAX {
        match backend.append_batch(batch.clone()).await {
            Outcome::Unknown(_) => {}
            outcome => return outcome,
        }
    }
    panic!("no outcome after {ATTEMPTS_MAX} attempts")
}

pub async fn last(backend: &impl JournalReader) -> Position {
    for _ in 0..ATTEMPTS_MAX {
        match backend.last_position().await {
            Err(StoreError::Unavailable(_)) => {}
            position => return position.unwrap(),
        }
    }
    panic!("no answer after {ATTEMPTS_MAX} attempts")
}

pub fn stored(outcome: Outcome) -> Position {
    match outcome {
        Outcome::Committed { position, .. } => position,
        other => panic!("not stored: {other:?}"),
    }
}

fn assert_lost(outcome: Outcome, newest: Position) {
    match outcome {
        Outcome::Conflict { actual } => assert!(actual.is_none_or(|actual| actual == newest), "{actual:?}"),
        other => panic!("expected a conflict with {newest}: {other:?}"),
    }
}
