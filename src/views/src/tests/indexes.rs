//! Every index and filter, and the guards that a writer reads from them.

use super::history::*;
use crate::{FleetView, NodeFilter, PresenceState, State};
use domain::api_key::{self, Scope};
use domain::fleet::Fleet;
use domain::node::{self, Status};
use domain::rollout::{self, Selector};
use domain::{ApiKeyId, NodeName, Position, bundle, org};
use std::collections::BTreeMap;

/// Nodes c, a, b (registered in this order) in `demo`: b is online in zone x, c offline in zone x, a unknown in zone y.
fn fleet() -> History {
    let mut history = History::default();
    for (i, name, zone) in [(1, "c", "x"), (2, "a", "y"), (3, "b", "x")] {
        history.register(i, name, labels(&[("zone", zone), ("env", "prod")]));
    }
    history.node(3, node::Event::Online(node::Report::default()));
    history.node(1, node::Event::Offline(node::Offline { last_seen_at: None }));
    history
}

fn page(state: &State, filter: &NodeFilter, after: Option<&str>, limit: usize) -> (Vec<String>, u64) {
    let after: Option<NodeName> = after.map(|name| name.parse().unwrap());
    let (rows, total) = state.nodes.page(&demo(), filter, after.as_ref(), limit);
    (rows.into_iter().map(|row| row.node.name.to_string()).collect(), total)
}

#[test]
fn pages_are_in_the_order_of_names_and_count_everything_that_matches() {
    let state = fleet().state;
    let all = NodeFilter::default();
    let names = |list: &[&str]| list.iter().map(|name| name.to_string()).collect::<Vec<_>>();
    assert_eq!(page(&state, &all, None, 2), (names(&["a", "b"]), 3));
    assert_eq!(page(&state, &all, Some("b"), 2), (names(&["c"]), 3));
    assert_eq!(page(&state, &all, Some("aa"), 9), (names(&["b", "c"]), 3), "the name need not be there any more");
    assert_eq!(page(&state, &all, Some("c"), 9), (vec![], 3));
    let zone_x = NodeFilter { labels: labels(&[("zone", "x")]), ..NodeFilter::default() };
    assert_eq!(page(&state, &zone_x, None, 1), (names(&["b"]), 2));
    assert_eq!(page(&state, &zone_x, Some("b"), 1), (names(&["c"]), 2));
    for (status, expected) in [(Status::Online, "b"), (Status::Offline, "c"), (Status::Unknown, "a")] {
        let filter = NodeFilter { status: Some(status), ..NodeFilter::default() };
        assert_eq!(page(&state, &filter, None, 9), (names(&[expected]), 1));
    }
    let nobody = NodeFilter { status: Some(Status::Unknown), labels: labels(&[("zone", "x")]) };
    assert_eq!(page(&state, &nobody, None, 9), (vec![], 0));
    assert_eq!(state.nodes.page(&slug("other"), &all, None, 9).1, 0);
}

#[test]
fn nodes_are_found_by_id_and_name_and_counted_by_status() {
    let state = fleet().state;
    let named = |project: &str, name: &str| state.nodes.named(&slug(project), &name.parse().unwrap()).map(|n| n.id);
    assert_eq!(named("demo", "b"), Some(node_id(3)));
    assert_eq!((named("demo", "z"), named("other", "b")), (None, None));
    assert_eq!(state.nodes.get(node_id(2)).map(|n| n.name.as_str()), Some("a"));
    let names: Vec<&str> = state.nodes.of_project(&demo()).map(|n| n.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    let counts = BTreeMap::from([(Status::Online, 1), (Status::Offline, 1), (Status::Unknown, 1)]);
    assert_eq!(state.nodes.count(&demo()), counts);
}

#[test]
fn a_deleted_node_is_gone_and_its_name_free_but_the_guard_stays() {
    let mut history = fleet();
    assert_eq!(history.state.nodes.registered_position(&demo()), Position(3));
    history.node(1, node::Event::Deleted(node::Deleted {}));
    assert_eq!(history.state.nodes.get(node_id(1)), None);
    assert!(history.state.nodes.named(&demo(), &"c".parse().unwrap()).is_none());
    assert_eq!(page(&history.state, &NodeFilter::default(), None, 9).1, 2);
    assert_eq!(history.state.nodes.registered_position(&demo()), Position(3));
    let again = history.register(4, "c", labels(&[]));
    assert_eq!(history.state.nodes.named(&demo(), &"c".parse().unwrap()).map(|n| n.id), Some(node_id(4)));
    assert_eq!(history.state.nodes.registered_position(&demo()), again);
    assert_eq!(history.state.nodes.registered_position(&slug("other")), Position::START);
}

fn versions(state: &State, before: Option<Position>) -> Vec<String> {
    state.bundles.newest_first(&demo(), before).map(|(_, bundle)| bundle.version.to_string()).collect()
}

#[test]
fn bundles_are_found_by_id_version_and_age() {
    let mut history = History::default();
    let ids = [3, 1, 2];
    let created: Vec<Position> = ids.iter().map(|i| history.create_bundle(*i, &format!("v{i}"))).collect();
    let compiling = |state: &State| state.bundles.compiling().map(|bundle| bundle.id).collect::<Vec<_>>();
    assert_eq!(compiling(&history.state), [1, 2, 3].map(bundle_id));
    history.bundle(1, bundle::Event::Compiled(compiled(1)));
    history.bundle(3, bundle::Event::Failed(bundle::Failed { problems: vec![] }));
    let state = &history.state;
    assert_eq!(compiling(state), [bundle_id(2)]);
    assert_eq!(versions(state, None), ["v2", "v1", "v3"], "age is the position, not the id");
    assert_eq!(versions(state, Some(created[1])), ["v3"]);
    assert_eq!(versions(state, Some(created[0])), [] as [&str; 0]);
    assert_eq!(state.bundles.versioned(&demo(), &"v1".parse().unwrap()).map(|b| b.id), Some(bundle_id(1)));
    assert!(state.bundles.versioned(&slug("other"), &"v1".parse().unwrap()).is_none());
    assert_eq!(state.bundles.created_position(&demo()), created[2]);
    assert_eq!(state.bundles.created_position(&slug("other")), Position::START);
}

#[test]
fn a_deleted_bundle_leaves_every_index_and_its_version_is_free() {
    let mut history = History::default();
    history.create_bundle(1, "v1");
    let second = history.create_bundle(2, "v2");
    history.bundle(2, bundle::Event::Deleted(bundle::Deleted {}));
    let state = &history.state;
    assert_eq!((state.bundles.get(bundle_id(2)), versions(state, None)), (None, vec!["v1".to_owned()]));
    assert_eq!(state.bundles.compiling().count(), 1);
    assert_eq!(state.bundles.created_position(&demo()), second, "the guard counts facts, not bundles");
    let restored = State::from_snapshot(&state.to_snapshot().unwrap()).unwrap();
    assert_eq!(restored, *state, "no index remembers it");
    history.create_bundle(3, "v2");
    assert_eq!(versions(&history.state, None), ["v2", "v1"]);
    assert_eq!(history.state.bundles.versioned(&demo(), &"v2".parse().unwrap()).map(|b| b.id), Some(bundle_id(3)));
}

#[test]
fn a_bundle_counts_as_deployed_from_the_first_rollout_on() {
    let mut history = History::default();
    history.create_bundle(1, "v1");
    assert!(!history.state.bundles.is_deployed(bundle_id(1)));
    history.create_rollout(1, 1);
    history.rollout(1, cancelled());
    assert!(history.state.bundles.is_deployed(bundle_id(1)));
}

#[test]
fn rollouts_are_found_by_id_and_age_and_live_ones_apart() {
    let mut history = History::default();
    let created: Vec<Position> = [3, 1, 2].iter().map(|i| history.create_rollout(*i, 1)).collect();
    history.rollout(1, cancelled());
    history.rollout(2, rollout::Event::Paused(rollout::Paused { cause: cause() }));
    let state = &history.state;
    let ids = |before| state.rollouts.newest_first(&demo(), before).map(|(_, r)| r.id).collect::<Vec<_>>();
    assert_eq!(ids(None), [2, 1, 3].map(rollout_id));
    assert_eq!(ids(Some(created[2])), [1, 3].map(rollout_id));
    assert_eq!(state.rollouts.live().map(|r| r.id).collect::<Vec<_>>(), [2, 3].map(rollout_id));
    assert_eq!(state.rollouts.newest_position(&demo()), state.position);
    assert_eq!(state.rollouts.newest_position(&slug("other")), Position::START);
    assert_eq!(state.rollouts.get(rollout_id(1)).map(|r| r.state.as_str()), Some("cancelled"));
}

#[test]
fn orgs_projects_keys_and_signing_keys_are_found() {
    let mut history = History::default();
    history.org(org::Event::Created(org::Created { name: "Default".into() }));
    let (key_id, public_key) = ("sk_1".to_owned(), "p".to_owned());
    let key_use = org::KeyUse::NodeToken;
    history.org(org::Event::SigningKeyCreated(org::SigningKeyCreated { key_id, key_use, public_key }));
    history.project("demo");
    let fact = api_key::Created {
        name: "ci".into(),
        scopes: [Scope::NodesRead].into(),
        project: None,
        expires_at: None,
        key_prefix: "x".into(),
    };
    history.api_key(1, api_key::Event::Created(fact));
    history.api_key(1, api_key::Event::Revoked(api_key::Revoked {}));
    let orgs = &history.state.orgs;
    assert_eq!(orgs.org(&slug("default")).map(|org| org.name.as_str()), Some("Default"));
    assert_eq!((orgs.orgs().count(), orgs.projects().count(), orgs.api_keys().count()), (1, 1, 1));
    assert_eq!(orgs.project(&demo()).map(|project| project.org.clone()), Some(slug("default")));
    assert!(orgs.api_key(ApiKeyId::from_bytes([1; 16])).is_some_and(|key| key.revoked_at.is_some()));
    let (owner, key) = orgs.signing_key("sk_1").unwrap();
    assert_eq!((owner, key.active), (&slug("default"), true));
    history.org(org::Event::SigningKeyDeactivated(org::SigningKeyDeactivated { key_id: "sk_1".into() }));
    assert_eq!(history.state.orgs.signing_key("sk_1").map(|(_, key)| key.active), Some(false));
    assert_eq!(history.state.orgs.signing_key("sk_2"), None);
}

#[test]
fn a_fact_counts_once_however_often_it_comes() {
    let history = fleet();
    let mut twice = fold(&history.facts);
    history.facts.iter().for_each(|fact| twice.apply(&decode(fact)));
    assert_eq!(twice, history.state);
}

#[test]
fn commands_are_remembered_for_a_day_by_their_own_clock() {
    let mut history = History::default();
    let created = |version: &str| {
        let fact = bundle::Created { version: version.parse().unwrap(), source_digest: digest(1), source_bytes: 1 };
        domain::Event::Bundle(bundle::Event::Created(fact))
    };
    let id = |i: u8| domain::CommandId([i; 16]);
    history.create_bundle(9, "without a key");
    let first = history.fact_of(Some((1, 77)), bundle(1), created("v1"));
    let done = history.state.commands.get(&id(1)).cloned().unwrap();
    assert_eq!((done.position, done.request, done.time), (first, 77, at(0)));
    assert_eq!(done.aggregate(), Some(bundle(1)));
    let last = history.fact_of(Some((1, 77)), bundle(2), created("v2"));
    assert_eq!(history.state.commands.get(&id(1)).map(|done| done.position), Some(last), "the last fact of a command");
    history.second = 24 * 3600;
    history.fact_of(Some((2, 5)), bundle(3), created("v3"));
    assert!(history.state.commands.get(&id(1)).is_some(), "24 h are not over");
    history.second += 1;
    history.fact_of(Some((3, 5)), bundle(4), created("v4"));
    assert!(history.state.commands.get(&id(1)).is_none());
    assert!(history.state.commands.get(&id(2)).is_some());
    assert_eq!(history.state.commands.rows().count(), 2);
}

#[test]
fn the_engine_sees_nodes_assignments_bundles_and_beats() {
    let mut history = fleet();
    history.create_bundle(1, "v1");
    history.bundle(1, bundle::Event::Compiled(compiled(1)));
    history.rollout(1, rollout::Event::Created(spec(1, Selector::All {})));
    history.assign(1, 0, 1, &[3]);
    let mut presence = PresenceState::default();
    presence.expect(node_id(2));
    let view = FleetView { state: &history.state, presence: &presence };
    let project = demo();
    let names: Vec<&str> = view.nodes(&project).map(|n| n.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(view.desired(node_id(3)).map(|d| d.bundle), Some(bundle_id(1)));
    assert_eq!((view.desired(node_id(1)), view.beat(node_id(2)), view.beat(node_id(3))), (None, None, None));
    assert_eq!(view.deployable_digest(bundle_id(1)), Some(&digest(1)));
    history.bundle(1, bundle::Event::Revoked(bundle::Revoked { reason: None }));
    let view = FleetView { state: &history.state, presence: &presence };
    assert_eq!(view.deployable_digest(bundle_id(1)), None);
}
