use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn key(id: &str, key_use: KeyUse) -> Event {
    Event::SigningKeyCreated(SigningKeyCreated { key_id: id.into(), key_use, public_key: format!("public-{id}") })
}

fn deactivated(id: &str) -> Event {
    Event::SigningKeyDeactivated(SigningKeyDeactivated { key_id: id.into() })
}

/// Fact `i` stands at position `i + 2`; the clock of its writer is given.
fn given(facts: &[(Event, i64)]) -> Org {
    let mut org = Org::created("default".parse().unwrap(), &Created { name: "Default".into() }, at(0), Position(1));
    for (i, (fact, second)) in facts.iter().enumerate() {
        org.evolve(fact, at(*second), Position(i as u64 + 2));
    }
    org
}

fn active(org: &Org, key_use: KeyUse) -> Option<&str> {
    org.active_key(key_use).map(|(id, _)| id.as_str())
}

#[test]
fn a_key_signs_for_its_own_use_only() {
    let org = given(&[(key("sk_1", KeyUse::NodeToken), 1)]);
    assert_eq!((active(&org, KeyUse::NodeToken), active(&org, KeyUse::Bundle)), (Some("sk_1"), None));
}

#[test]
fn the_newest_key_is_the_one_whose_fact_came_last_whatever_the_clocks_said() {
    let org = given(&[(key("sk_b", KeyUse::NodeToken), 100), (key("sk_a", KeyUse::NodeToken), 50)]);
    assert_eq!(active(&org, KeyUse::NodeToken), Some("sk_a"));
}

#[test]
fn a_deactivated_key_stays_known_but_signs_nothing() {
    let facts = [(key("sk_1", KeyUse::NodeToken), 1), (key("sk_2", KeyUse::NodeToken), 2), (deactivated("sk_2"), 3)];
    let org = given(&facts);
    assert_eq!(active(&org, KeyUse::NodeToken), Some("sk_1"));
    let public_key = "public-sk_2".to_owned();
    let gone =
        SigningKey { key_use: KeyUse::NodeToken, public_key, active: false, created_at: at(2), position: Position(3) };
    assert_eq!(org.signing_keys.get("sk_2"), Some(&gone));
    assert_eq!(given(&[(deactivated("sk_9"), 1)]).signing_keys.len(), 0, "an unknown key is nobody's");
}
