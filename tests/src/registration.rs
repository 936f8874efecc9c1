//! Who becomes a node: the registration document's script for many at once, and join tokens through the CLI and curl.

use crate::harness::Dev;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Section 7 of the registration document, but for where it goes.
const BULK: &str = r#"#!/bin/bash
set -euo pipefail
CP_URL="http://localhost:4000"
PROJECT="my-project"
NODES=(
  "proxy-us-east-1:us-east-1:10.0.1.50"
  "proxy-us-west-2:us-west-2:10.0.2.50"
  "proxy-eu-west-1:eu-west-1:10.1.1.50"
  "proxy-ap-south-1:ap-south-1:10.2.1.50"
)
for entry in "${NODES[@]}"; do
  IFS=":" read -r name region ip <<< "$entry"
  echo "Registering $name..."
  response=$(curl -s -X POST "$CP_URL/api/v1/projects/$PROJECT/nodes/register" \
    -H "Content-Type: application/json" \
    -d "{
      \"name\": \"$name\",
      \"labels\": {\"env\": \"production\", \"region\": \"$region\"},
      \"ip\": \"$ip\"
    }")
  node_id=$(echo "$response" | jq -r '.node_id')
  node_key=$(echo "$response" | jq -r '.node_key')
  echo "  node_id: $node_id"
  echo "  node_key: $node_key"
  echo "$name,$node_id,$node_key" >> node-credentials.csv
done
echo "Done. Credentials saved to node-credentials.csv"
"#;

/// As much of jq as the script asks for.
const SMALL_JQ: &str =
    "#!/usr/bin/env python3\nimport json, sys\nprint(json.load(sys.stdin)[sys.argv[2].lstrip('.')])\n";

fn has_jq() -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|directory| directory.join("jq").is_file())
}

/// The search path, with a small `jq` at its end where there is none.
fn path_with_jq(dir: &Path) -> std::ffi::OsString {
    use std::os::unix::fs::PermissionsExt;
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let mut directories: Vec<PathBuf> = std::env::split_paths(&paths).collect();
    if !has_jq() {
        let bin = dir.join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::write(bin.join("jq"), SMALL_JQ).unwrap();
        std::fs::set_permissions(bin.join("jq"), std::fs::Permissions::from_mode(0o755)).unwrap();
        directories.push(bin);
    }
    std::env::join_paths(directories).unwrap()
}

#[test]
fn the_documents_script_registers_many_nodes_as_it_stands() {
    let dev = Dev::start();
    let script = BULK.replace("http://localhost:4000", dev.file.get("http_url")).replace("my-project", "demo");
    let file = dev.dir.path().join("register.sh");
    std::fs::write(&file, script).unwrap();
    let mut command = Command::new("bash");
    command.arg(&file).current_dir(dev.dir.path()).env("PATH", path_with_jq(dev.dir.path()));
    let output = command.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    let credentials = std::fs::read_to_string(dev.dir.path().join("node-credentials.csv")).unwrap();
    let rows: Vec<Vec<&str>> = credentials.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 4, "{said}");
    for row in rows {
        let [name, id, key] = row[..] else { panic!("{credentials}") };
        let header = format!("X-Zentinel-Node-Key: {key}");
        let beat = ["-X", "POST", "-H", &header, "-H", "Content-Type: application/json", "--data-binary", "{}"];
        let answer = dev.curl(&beat, &format!("/api/v1/nodes/{id}/heartbeat"));
        assert_eq!(answer.status, 200, "{name}: {}", answer.text);
        let node = dev.api("GET", &format!("/api/v1/projects/demo/nodes/{id}"), None).body["node"].clone();
        assert_eq!((&node["name"], &node["labels"]["env"]), (&json!(name), &json!("production")));
        assert_eq!(node["labels"]["region"], name.trim_start_matches("proxy-"));
    }
}

fn register(dev: &Dev, name: &str, token: Option<&str>) -> (u16, Value) {
    let (body, header) =
        (json!({ "name": name }).to_string(), format!("X-Pilothouse-Join-Token: {}", token.unwrap_or("")));
    let mut call = vec!["-X", "POST", "-H", "Content-Type: application/json", "--data-binary", &body];
    if token.is_some() {
        call.extend(["-H", &header]);
    }
    let reply = dev.curl(&call, "/api/v1/projects/demo/nodes/register");
    (reply.status, reply.body)
}

#[test]
fn a_join_token_lets_in_as_many_as_it_says_and_approval_is_an_operators() {
    let dev = Dev::start();
    let updated = dev.cli_json(&["project", "update", "demo", "--registration", "token"]);
    assert_eq!(updated["registration"], "token");
    let create = ["token", "create", "--name", "rack-7", "--label", "rack=7", "--uses", "2", "--approval"];
    let created = dev.cli_json(&create);
    let (id, token) = (created["id"].as_str().unwrap(), created["token"].as_str().unwrap());
    let refused = |answer: (u16, Value), error: &str| assert_eq!((answer.0, &answer.1["error"]), (401, &json!(error)));
    refused(register(&dev, "a", None), "Missing join token. Provide X-Pilothouse-Join-Token header.");
    refused(register(&dev, "a", Some("pjt_wrong")), "Invalid or expired join token");
    assert_eq!(register(&dev, "a", Some(token)).0, 201);
    assert_eq!(register(&dev, "b", Some(token)).0, 201);
    refused(register(&dev, "c", Some(token)), "Invalid or expired join token");
    let shown = dev.cli_json(&["token", "show", id]);
    assert_eq!((&shown["join_token"]["uses"], shown["join_token"].get("token")), (&json!(2), None));

    let node = dev.cli_json(&["node", "show", "a"])["node"].clone();
    assert_eq!((&node["approved"], &node["labels"]), (&json!(false), &json!({"rack": "7"})));
    assert_eq!(dev.cli_json(&["node", "approve", "a"])["node"]["approved"], true);
    assert!(dev.cli(&["token", "revoke", id, "--yes"]).status.success());
    assert_eq!(dev.cli_json(&["node", "show", "a"])["node"]["approved"], true, "nodes that joined stay");
}
