//! What the README shows as a command is run, as written, in a fresh directory. Only the ports differ.

use crate::harness::{Dev, Facts, binary};
use std::process::{Command, Output};

const README: &str = include_str!("../../README.md");

/// The blocks under one info string, in order, with this run's addresses.
fn blocks(info: &str, dev: &Dev) -> String {
    let mut script = String::from("set -eu\n");
    let mut inside = false;
    for line in README.lines() {
        if line == "```" {
            inside = false;
        } else if line == format!("```sh {info}") {
            inside = true;
        } else if inside {
            script.push_str(line);
            script.push('\n');
        }
    }
    let data_dir = dev.data_dir();
    script
        .replace("http://127.0.0.1:4000", dev.file.get("http_url"))
        .replace("$PWD/target/debug", binary("pilothouse").parent().unwrap().to_str().unwrap())
        .replace(".pilothouse/dev.json", data_dir.join("dev.json").to_str().unwrap())
        .replace("pilothouse bundle", &with_dev_file("bundle", dev))
        .replace("pilothouse node", &with_dev_file("node", dev))
        .replace("pilothouse rollout", &with_dev_file("rollout", dev))
}

fn with_dev_file(verb: &str, dev: &Dev) -> String {
    format!("pilothouse --dev-file {} {verb}", dev.data_dir().join("dev.json").display())
}

fn run(script: &str, dev: &Dev) -> Output {
    // The agents in the background end with the shell.
    let script = format!("trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{script}");
    Command::new("bash").args(["-c", &script]).current_dir(dev.dir.path()).output().unwrap()
}

#[test]
fn the_first_rollout_works_as_written() {
    let dev = Dev::start();
    let mut facts = Facts::subscribe(&dev);
    let output = run(&blocks("first-rollout", &dev), &dev);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}\n{}", dev.log_tail());
    assert!(out.contains("completed: 3/3 active"), "{out}\n{err}");
    let config = std::fs::read_to_string(dev.dir.path().join("zentinel.kdl")).unwrap();
    for n in 1..=3 {
        let current = dev.dir.path().join(format!("agents/proxy-{n}/current/zentinel.kdl"));
        assert_eq!(std::fs::read_to_string(&current).unwrap(), config, "{}", current.display());
    }
    let completed = facts.wait_for(".completed");
    assert_eq!(completed["type"], "rollout.completed");
    assert_eq!(completed["data"]["updated"], 3, "{completed}");
}

#[test]
fn the_curl_lines_work_as_written() {
    let dev = Dev::start();
    let output = run(&blocks("curl", &dev), &dev);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    assert!(out.contains("\"node_key\"") && out.contains("\"nodes\""), "{out}\n{err}");
    let spec = std::fs::read_to_string(dev.dir.path().join("openapi.json")).unwrap();
    assert!(spec.contains("\"openapi\":\"3.1"), "{spec:.200}");
}
