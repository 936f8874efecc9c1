//! The journal in memory. Position n is element n - 1.

use super::{CHUNK_MAX, Known, Memory, State};
use crate::contract::{
    Append, BATCH_FACTS_MAX, BODY_BYTES_MAX, FactQuestion, Facts, Guard, JournalReader, JournalWriter, Outcome,
    StoreError, Stored,
};
use domain::Position;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use jiff::SignedDuration;

/// As long as `FLEET` recognises a repeated message id.
const DUPLICATE_WINDOW: SignedDuration = SignedDuration::from_secs(120);

impl JournalWriter for Memory {
    fn append(&self, fact: Append) -> BoxFuture<'_, Outcome> {
        Box::pin(async move { self.change(|state| state.append(vec![fact])) })
    }

    fn append_batch(&self, facts: Vec<Append>) -> BoxFuture<'_, Outcome> {
        Box::pin(async move {
            match facts.len() {
                1..=BATCH_FACTS_MAX => self.change(|state| state.append(facts)),
                n => Outcome::Unknown(format!("a batch holds 1 to {BATCH_FACTS_MAX} facts, not {n}")),
            }
        })
    }
}

impl JournalReader for Memory {
    fn last_position(&self) -> BoxFuture<'_, Result<Position, StoreError>> {
        let last = Position(self.lock().facts.len() as u64);
        Box::pin(async move { Ok(last) })
    }

    fn follow(&self, after: Position) -> BoxStream<'static, Stored> {
        self.tail(after.0 as usize, |state, seen| {
            let news: Vec<Stored> = state.facts.iter().skip(*seen).take(CHUNK_MAX).cloned().collect();
            *seen += news.len();
            news
        })
    }

    fn facts(&self, question: FactQuestion) -> BoxFuture<'_, Result<Facts, StoreError>> {
        let (mut facts, mut bytes) = (Facts::default(), 0);
        let state = self.lock();
        let after = usize::try_from(question.after.0).unwrap_or(usize::MAX);
        for fact in state.facts.iter().skip(after).filter(|fact| matches(&question.filter, &fact.subject)) {
            if facts.found.len() >= question.facts_max || bytes >= question.bytes_max {
                facts.is_cut = true;
                break;
            }
            bytes += fact.body.len();
            facts.found.push(fact.clone());
        }
        drop(state);
        Box::pin(async move { Ok(facts) })
    }
}

impl State {
    fn append(&mut self, facts: Vec<Append>) -> Outcome {
        for fact in &facts {
            if !fact.subject.starts_with("fleet.") || fact.body.len() > BODY_BYTES_MAX {
                return Outcome::Unknown(format!("{:?} is not a fact that can be stored", fact.subject));
            }
        }
        match self.judge(&facts) {
            Some(outcome) => outcome,
            None => self.store(facts),
        }
    }

    /// Why the facts are not to be stored. In the server's order: expectations first, then repeats.
    fn judge(&self, facts: &[Append]) -> Option<Outcome> {
        let conflict = facts.iter().find_map(|fact| {
            let actual = self.newest(&fact.guard);
            (actual != fact.guard.expected).then_some(Outcome::Conflict { actual: Some(actual) })
        });
        if let Some(conflict) = conflict {
            return Some(self.stored_before(facts).unwrap_or(conflict));
        }
        match facts {
            [fact] => self.known(&fact.message_id).map(|position| Outcome::Committed { position, duplicate: true }),
            _ if facts.iter().any(|fact| self.known(&fact.message_id).is_some()) => {
                let unknown = || Outcome::Unknown("some facts of the batch are known already".to_owned());
                Some(self.stored_before(facts).unwrap_or_else(unknown))
            }
            _ => None,
        }
    }

    /// These very facts, when they were stored under these very guards.
    fn stored_before(&self, facts: &[Append]) -> Option<Outcome> {
        let (first, last) = (facts.first()?, facts.last()?);
        let after = self.facts.iter().skip(first.guard.expected.0 as usize);
        let start = after.clone().find(|stored| matches(&first.guard.filter, &stored.subject))?.position.0;
        let end = start + facts.len() as u64 - 1;
        let id = |position: u64| self.ids.get(position as usize - 1);
        (id(start) == Some(&first.message_id) && id(end) == Some(&last.message_id))
            .then_some(Outcome::Committed { position: Position(end), duplicate: true })
    }

    fn store(&mut self, facts: Vec<Append>) -> Outcome {
        let (time, count) = (self.now(), facts.len());
        for (index, fact) in facts.into_iter().enumerate() {
            let position = Position(self.facts.len() as u64 + 1);
            self.ids.push(fact.message_id.clone());
            self.known.insert(fact.message_id, Known { position, time });
            let (subject, body) = (fact.subject, fact.body);
            self.facts.push(Stored { position, subject, time, body, batch_end: index + 1 == count });
        }
        Outcome::Committed { position: Position(self.facts.len() as u64), duplicate: false }
    }

    fn known(&self, message_id: &str) -> Option<Position> {
        let known = self.known.get(message_id)?;
        (self.now().duration_since(known.time) < DUPLICATE_WINDOW).then_some(known.position)
    }

    fn newest(&self, guard: &Guard) -> Position {
        let newest = self.facts.iter().rev().find(|stored| matches(&guard.filter, &stored.subject));
        newest.map_or(Position::START, |stored| stored.position)
    }
}

/// NATS's own rule: `*` is one token, `>` at the end is one or more.
pub(super) fn matches(filter: &str, subject: &str) -> bool {
    let (mut filter, mut subject) = (filter.split('.'), subject.split('.'));
    loop {
        match (filter.next(), subject.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some("*"), Some(_)) => {}
            (Some(want), Some(have)) if want == have => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use bytes::Bytes;
    use jiff::Timestamp;

    #[tokio::test]
    async fn a_message_id_is_known_for_two_minutes() {
        let memory = Memory::new();
        let append = |node: &str| {
            let guard = Guard { filter: format!("fleet.o.p.node.{node}.>"), expected: Position::START };
            let (subject, message_id) = (format!("fleet.o.p.node.{node}.registered"), "same.0".to_owned());
            memory.append(Append { subject, guard, message_id, body: Bytes::new() })
        };
        let committed = |position, duplicate| Outcome::Committed { position: Position(position), duplicate };
        memory.set_time(Timestamp::from_second(0).unwrap());
        assert_eq!(append("n1").await, committed(1, false));
        memory.set_time(Timestamp::from_second(119).unwrap());
        assert_eq!(append("n2").await, committed(1, true));
        memory.set_time(Timestamp::from_second(120).unwrap());
        assert_eq!(append("n2").await, committed(2, false));
        assert_eq!(append("n1").await, committed(1, true), "its own guard knows it for ever");
    }

    #[test]
    fn filters_match_as_in_nats() {
        assert!(matches("fleet.o.*.node.>", "fleet.o.p.node.n1.seen"));
        assert!(matches("fleet.o.p.node.*.seen", "fleet.o.p.node.n1.seen"));
        assert!(!matches("fleet.o.p.node.n1.>", "fleet.o.p.node.n1"));
        assert!(!matches("fleet.o.p.node.*", "fleet.o.p.node.n1.seen"));
        assert!(!matches("fleet.o.p.node.n1.seen", "fleet.o.p.node.n1"));
    }
}
