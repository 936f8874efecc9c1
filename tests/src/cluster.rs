//! Three nats-servers and two replicas, as `compose.yaml` has them: operators at any server, and the loss of any one of them.

use crate::harness::{Replicas, SAMPLE, curl, eventually};
use serde_json::json;
use std::collections::BTreeMap;

#[test]
fn any_one_of_three_servers_may_be_lost() {
    let mut all = Replicas::start_on(3, 2, &[("PILOTHOUSE_STORAGE_EXPECTED_REPLICAS", "3")]);
    let ready = all.replicas[0].ready();
    assert_eq!(ready.body["durability"]["replicas"], 3, "{}", ready.text);
    let mut answered = BTreeMap::new();
    for lost in 0..3 {
        // An operator may come in at any server: the account of the operators reaches the replicas over the cluster's routes.
        for server in 0..3 {
            let slug = format!("p-{lost}-{server}");
            let create = ["project", "create", &slug, "--idempotency-key", &slug];
            // While a stream has no leader the answer is to try again; under its key a repeat is the same request.
            eventually("the project is stored", || {
                let created = all.cli_at(server, &create);
                if created.status.success() {
                    Ok(())
                } else {
                    Err(String::from_utf8_lossy(&created.stderr).into_owned())
                }
            });
            let shown = all.api(server % 2, "GET", &format!("/api/v1/projects/{slug}/nodes"), &[], None);
            assert_eq!(shown.status, 200, "{}", shown.text);
        }
        all.nats[lost].kill9();
        for n in 0..10 {
            let name = format!("node-{lost}-{n}");
            answered.insert(register(&all, n % 2, &name), name);
        }
        all.nats[lost].restart();
        eventually("both replicas are ready again", || {
            let states = [all.replicas[0].ready(), all.replicas[1].ready()];
            if states.iter().all(|reply| reply.status == 200) { Ok(()) } else { Err(states[0].text.clone()) }
        });
    }
    for replica in 0..2 {
        let stats = all.api(replica, "GET", "/api/v1/projects/demo/nodes/stats", &[], None);
        assert_eq!(stats.body["total"], answered.len(), "every answered node is there, and no other: {}", stats.text);
    }
    assert_eq!(all.count_facts("fleet.*.*.node.*.registered"), answered.len());
    let body = json!({"version": "v1", "config_source": SAMPLE});
    eventually("the bundle is stored", || {
        let key = ["Idempotency-Key: v1"];
        let created = all.api(1, "POST", "/api/v1/projects/demo/bundles", &key, Some(&body));
        if created.status == 201 { Ok(()) } else { Err(created.text) }
    });
}

/// Until an answer comes; the repeats are one registration.
fn register(all: &Replicas, replica: usize, name: &str) -> String {
    let (body, key) = (json!({"name": name}).to_string(), format!("Idempotency-Key: {name}"));
    let url = all.replicas[replica].url("/api/v1/projects/demo/nodes/register");
    eventually("the registration is answered", || {
        let reply =
            curl(&["-X", "POST", "-H", "Content-Type: application/json", "-H", &key, "--data-binary", &body], &url);
        match reply.body["node_id"].as_str() {
            Some(id) if reply.status == 201 || reply.status == 200 => Ok(id.to_owned()),
            _ => Err(reply.text),
        }
    })
}
