use super::*;

fn given(facts: &[Event]) -> Project {
    let created = Created { id: ProjectId::from_bytes([1; 16]), name: "Demo".into(), registration: Registration::Open };
    let names: (Slug, Slug) = ("default".parse().unwrap(), "demo".parse().unwrap());
    let mut project = Project::created(names.0, names.1, &created, Timestamp::UNIX_EPOCH, Position(1));
    for (i, fact) in facts.iter().enumerate() {
        project.evolve(fact, Position(i as u64 + 2));
    }
    project
}

#[test]
fn a_policy_is_changed_once() {
    let changed = |registration| Event::RegistrationChanged(RegistrationChanged { registration });
    assert_eq!(change_registration(&given(&[]), Registration::Open), None);
    assert_eq!(change_registration(&given(&[]), Registration::Token), Some(changed(Registration::Token)));
    let project = given(&[changed(Registration::Token)]);
    assert_eq!((project.registration, project.position), (Registration::Token, Position(2)));
    assert_eq!(change_registration(&project, Registration::Token), None);
    assert_eq!(change_registration(&project, Registration::Open), Some(changed(Registration::Open)));
}

#[test]
fn a_policy_is_written_as_it_is_spelled() {
    for policy in Registration::ALL {
        assert_eq!(serde_json::to_value(policy).unwrap(), policy.as_str());
        assert_eq!(Registration::parse(policy.as_str()), Some(policy));
    }
}
