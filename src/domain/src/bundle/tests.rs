use super::*;

const ID: BundleId = BundleId::from_bytes([1; 16]);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn fact() -> Created {
    Created { version: "1.0".parse().unwrap(), source_digest: "a".repeat(64).parse().unwrap(), source_bytes: 3 }
}

fn compiled() -> Compiled {
    Compiled {
        digest: "b".repeat(64).parse().unwrap(),
        size_bytes: 10,
        files: Vec::new(),
        signature: "s".into(),
        key_id: "bk_0".into(),
        proxy_version: "0.6.45".into(),
        warnings: Vec::new(),
    }
}

fn failed() -> Failed {
    let problem = Problem { code: "syntax".into(), message: "no".into(), line: Some(1), column: None, help: None };
    Failed { problems: vec![problem] }
}

fn given(facts: &[Event]) -> Bundle {
    let names = ("default".parse().unwrap(), "demo".parse().unwrap(), ID);
    let mut bundle = Bundle::created(names, &fact(), at(1), Position(1));
    for (i, fact) in facts.iter().enumerate() {
        bundle.evolve(fact, at(i as i64 + 2), Position(i as u64 + 2));
    }
    bundle
}

fn is_compiled() -> Event {
    Event::Compiled(compiled())
}

fn is_failed() -> Event {
    Event::Failed(failed())
}

fn is_revoked(reason: Option<&str>) -> Event {
    Event::Revoked(Revoked { reason: reason.map(str::to_owned) })
}

#[test]
fn a_version_is_given_once() {
    assert_eq!(create(fact(), true), Err(Rejection::VersionTaken));
    assert_eq!(create(fact(), false), Ok(Event::Created(fact())));
}

type Case<'a> = (&'a [Event], Command, Result<Option<Event>, Rejection>);

#[test]
fn every_wish_in_every_state() {
    let revoke = || Command::Revoke { reason: Some("bad".into()) };
    let ids = |list: &[u8]| list.iter().map(|i| NodeId::from_bytes([*i; 16])).collect::<Vec<_>>();
    let assign = || Command::Assign { node_ids: ids(&[2, 1, 2]) };
    let delete = |deployed| Command::Delete { deployed };
    let deleted = || Ok(Some(Event::Deleted(Deleted {})));
    let compiling: Vec<Event> = vec![];
    let (done, broken) = (vec![is_compiled()], vec![is_failed()]);
    let gone = vec![is_compiled(), is_revoked(None)];
    let cases: Vec<Case> = vec![
        (&compiling, Command::Finish(Ok(compiled())), Ok(Some(is_compiled()))),
        (&compiling, Command::Finish(Err(failed())), Ok(Some(is_failed()))),
        (&compiling, revoke(), Err(Rejection::NotCompiled)),
        (&compiling, delete(false), Err(Rejection::StillCompiling)),
        (&done, Command::Finish(Err(failed())), Ok(None)),
        (&compiling, assign(), Err(Rejection::NotAssignable)),
        (&broken, assign(), Err(Rejection::NotAssignable)),
        (&gone, assign(), Err(Rejection::Revoked)),
        (&done, assign(), Ok(Some(Event::Assigned(Assigned { digest: compiled().digest, node_ids: ids(&[1, 2]) })))),
        (&done, revoke(), Ok(Some(is_revoked(Some("bad"))))),
        (&done, delete(true), Err(Rejection::Deployed)),
        (&done, delete(false), deleted()),
        (&broken, Command::Finish(Ok(compiled())), Ok(None)),
        (&broken, revoke(), Err(Rejection::NotCompiled)),
        (&broken, delete(false), deleted()),
        (&gone, revoke(), Ok(None)),
        (&gone, Command::Finish(Ok(compiled())), Ok(None)),
        (&gone, delete(true), Err(Rejection::Deployed)),
        (&gone, delete(false), deleted()),
    ];
    for (facts, command, then) in cases {
        assert_eq!(decide(&given(facts), command.clone()), then, "{facts:?} {command:?}");
    }
}

#[test]
fn only_a_compiled_bundle_may_be_deployed_and_a_revoked_one_keeps_its_archive() {
    let cases: [(&[Event], &str, bool, bool); 4] = [
        (&[], "compiling", false, false),
        (&[is_failed()], "failed", false, false),
        (&[is_compiled()], "compiled", true, true),
        (&[is_compiled(), is_revoked(None)], "revoked", false, true),
    ];
    for (facts, name, deployable, archive) in cases {
        let bundle = given(facts);
        let found = (bundle.state.as_str(), bundle.deployable().is_some(), bundle.archive().is_some());
        assert_eq!(found, (name, deployable, archive));
        assert_eq!(bundle.position, Position(1 + facts.len() as u64));
        assert_eq!((bundle.created_at, bundle.updated_at), (at(1), at(1 + facts.len() as i64)));
    }
}
