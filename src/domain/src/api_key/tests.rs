use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn given(scopes: &[Scope], expires_at: Option<Timestamp>) -> ApiKey {
    let fact = Created {
        name: "ci".into(),
        scopes: scopes.iter().copied().collect(),
        project: None,
        expires_at,
        key_prefix: "abcd".into(),
    };
    ApiKey::created("default".parse().unwrap(), ApiKeyId::from_bytes([1; 16]), &fact, at(1), Position(1))
}

#[test]
fn a_key_lives_until_it_expires_or_is_revoked() {
    assert!(given(&[], None).is_live(at(1_000_000)));
    let expiring = given(&[], Some(at(10)));
    assert_eq!([9, 10].map(|second| expiring.is_live(at(second))), [true, false]);
    let mut revoked = given(&[], None);
    revoked.evolve(&Event::Revoked(Revoked {}), at(5), Position(2));
    assert_eq!((revoked.revoked_at, revoked.is_live(at(5))), (Some(at(5)), false));
}

#[test]
fn no_scopes_mean_everything_and_a_write_scope_is_no_read_scope() {
    for scope in Scope::ALL {
        assert!(given(&[], None).allows(scope));
        assert_eq!(given(&[Scope::NodesWrite], None).allows(scope), scope == Scope::NodesWrite, "{scope:?}");
    }
}

#[test]
fn every_scope_reads_back_by_the_name_that_stands_in_facts() {
    for scope in Scope::ALL {
        assert_eq!(Scope::parse(scope.as_str()), Some(scope));
        assert_eq!(serde_json::to_value(scope).unwrap(), scope.as_str());
    }
    assert_eq!(Scope::parse("nodes"), None);
}
