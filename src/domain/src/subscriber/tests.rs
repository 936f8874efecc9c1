use super::*;

fn wanted(name: &str) -> Created {
    Created { name: name.parse().unwrap(), project: None, start: Start::New, expires_at: None }
}

fn given(name: &str, removed: bool) -> Subscriber {
    let (org, id) = ("default".parse().unwrap(), "U".repeat(56).parse().unwrap());
    let mut subscriber = Subscriber::created(org, id, &wanted(name), Timestamp::UNIX_EPOCH, Position(7));
    if removed {
        subscriber.evolve(&remove(&subscriber).unwrap(), Timestamp::UNIX_EPOCH, Position(8));
    }
    subscriber
}

#[test]
fn a_name_belongs_to_one_live_subscriber() {
    assert_eq!(create(&wanted("a"), None, []), Ok(Some(Event::Created(wanted("a")))));
    assert_eq!(create(&wanted("a"), None, [&given("a", false)]), Err(Rejection::NameTaken));
    assert_eq!(create(&wanted("a"), None, [&given("a", true)]), Ok(Some(Event::Created(wanted("a")))));
}

#[test]
fn a_key_makes_one_subscriber_ever() {
    let known = given("a", false);
    assert_eq!(create(&wanted("a"), Some(&known), [&known]), Ok(None), "the same again");
    assert_eq!(create(&wanted("b"), Some(&known), []), Err(Rejection::KeyUsed));
    assert_eq!(create(&wanted("a"), Some(&given("a", true)), []), Err(Rejection::KeyUsed));
}

#[test]
fn what_is_removed_stays_so() {
    let removed = given("a", true);
    assert_eq!((remove(&removed), removed.position, removed.created_position), (None, Position(8), Position(7)));
}

#[test]
fn a_consumer_tells_its_owner() {
    let id = given("a", false).id;
    assert_eq!(owner_of_durable(&durable(&id)), Some(id));
    for other in ["", "sub-", "sub-x", "r1-follow", &"U".repeat(56)] {
        assert_eq!(owner_of_durable(other), None, "{other}");
    }
}

#[test]
fn a_start_is_short_on_the_wire() {
    let time = Start::Time(Timestamp::UNIX_EPOCH);
    for (start, text) in [
        (Start::Beginning, r#""beginning""#),
        (Start::New, r#""new""#),
        (Start::Position(17), r#"{"position":17}"#),
        (time, r#"{"time":"1970-01-01T00:00:00Z"}"#),
    ] {
        assert_eq!(serde_json::to_string(&start).unwrap(), text);
        assert_eq!(serde_json::from_str::<Start>(text).unwrap(), start);
    }
}
