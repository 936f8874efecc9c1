use super::*;

#[test]
fn an_id_has_one_spelling() {
    let id = NodeId::from_parts(1_700_000_000_000, [0xab; 10]);
    let text = id.to_string();
    assert_eq!(text.parse(), Ok(id));
    let others =
        [text.to_uppercase(), text.replace('-', ""), format!("{{{text}}}"), format!("urn:uuid:{text}"), String::new()];
    for other in others {
        assert_eq!(other.parse::<NodeId>(), Err(IdError), "{other}");
    }
}

#[test]
fn ids_made_later_sort_later() {
    assert!(RolloutId::from_parts(1, [0xff; 10]) < RolloutId::from_parts(2, [0; 10]));
}

#[test]
fn a_command_id_is_32_lowercase_hex_digits() {
    let id = CommandId([0x0f; 16]);
    assert_eq!(id.to_string(), "0f".repeat(16));
    assert_eq!("0f".repeat(16).parse(), Ok(id));
    for wrong in ["0F".repeat(16), "+f".repeat(16), "0f".repeat(15), "ä".repeat(16), "0g".repeat(16)] {
        assert_eq!(wrong.parse::<CommandId>(), Err(IdError), "{wrong}");
    }
}

#[test]
fn a_digest_is_64_lowercase_hex_digits() {
    assert!("a0".repeat(32).parse::<Digest>().is_ok());
    for wrong in ["A0".repeat(32), "a0".repeat(31), "g0".repeat(32)] {
        assert_eq!(wrong.parse::<Digest>(), Err(IdError), "{wrong}");
    }
}

#[test]
fn a_subscriber_is_named_by_a_users_nkey() {
    let id = format!("U{}7", "A".repeat(54));
    assert_eq!(id.parse::<SubscriberId>().map(|id| id.to_string()), Ok(id.clone()));
    for wrong in
        [id.to_lowercase(), id[1..].to_owned(), id.replace('U', "A"), id.replace('7', "."), id.replace('7', "*")]
    {
        assert_eq!(wrong.parse::<SubscriberId>(), Err(IdError), "{wrong}");
    }
}
