use super::*;

const NODE: NodeId = NodeId::from_bytes([9; 16]);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A token that ends at second 100 after two uses, and these facts; fact `i` stands at position and second `i + 2`.
fn given(facts: &[Event]) -> JoinToken {
    let created = Created {
        name: "rack 7".into(),
        labels: Labels::default(),
        expires_at: Some(at(100)),
        uses_max: Some(2),
        approval: false,
        token_prefix: "pjt_abcd".into(),
    };
    let names = ("default".parse().unwrap(), "demo".parse().unwrap(), JoinTokenId::from_bytes([1; 16]));
    let mut token = JoinToken::created(names, &created, at(1), Position(1));
    for (i, fact) in facts.iter().enumerate() {
        token.evolve(fact, at(i as i64 + 2), Position(i as u64 + 2));
    }
    token
}

fn used() -> Event {
    Event::Used(Used { node_id: NODE })
}

#[test]
fn a_live_token_admits_and_counts() {
    assert_eq!(admit(&given(&[]), NODE, at(50)), Ok(used()));
    let token = given(&[used()]);
    assert_eq!((token.uses, token.last_used_at, token.position), (1, Some(at(2)), Position(2)));
    assert_eq!(admit(&token, NODE, at(50)), Ok(used()));
}

#[test]
fn the_last_use_is_the_last() {
    assert_eq!(admit(&given(&[used(), used()]), NODE, at(50)), Err(Rejection::UsedUp));
    let mut unlimited = given(&[used(), used(), used()]);
    unlimited.created.uses_max = None;
    assert_eq!(admit(&unlimited, NODE, at(50)), Ok(used()));
}

#[test]
fn a_token_ends_at_its_time() {
    assert_eq!(admit(&given(&[]), NODE, at(99)), Ok(used()));
    assert_eq!(admit(&given(&[]), NODE, at(100)), Err(Rejection::Expired));
    let mut eternal = given(&[]);
    eternal.created.expires_at = None;
    assert_eq!(admit(&eternal, NODE, Timestamp::MAX), Ok(used()));
}

#[test]
fn a_revoked_token_admits_nobody_and_is_revoked_once() {
    assert_eq!(revoke(&given(&[])), Some(Event::Revoked(Revoked {})));
    let token = given(&[Event::Revoked(Revoked {})]);
    assert_eq!(admit(&token, NODE, at(50)), Err(Rejection::Revoked));
    assert_eq!(revoke(&token), None);
}
