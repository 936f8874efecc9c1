//! A program in another language follows the fleet, with the example of `docs/events.md` and a client library that is none of
//! ours: no fact is missed over a kill, each is given again only where it was not acknowledged, and nobody else's is seen.

use crate::harness::{Dev, PATIENCE, eventually, within};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

/// The consumer's time for an acknowledgement is part of it.
const GIVEN_AGAIN: std::time::Duration = PATIENCE.saturating_mul(2);

#[test]
fn a_program_in_python_misses_nothing_and_sees_its_own_project_alone() {
    let dev = Dev::start();
    let python = Python::prepare(&dev);
    project(&dev, "other");
    add(&dev, "audit", &[]);
    add(&dev, "billing", &["-p", "demo"]);
    (1..=4).for_each(|n| work(&dev, n));
    // All there is, heard by somebody who hears everything: the demo project's part is what the others must get.
    let all = python.follow("audit", pending(&dev, "audit"), None).all();
    assert_eq!(positions(&all), (1..=all.len() as u64).collect::<Vec<_>>(), "every fact, once, in order");
    let demo = of_demo(&all);
    assert!(demo.len() >= 8 && demo.len() < all.len(), "{all:?}");

    // Killed with the third fact in its hands.
    let mut killed = python.follow("billing", u64::MAX, Some(3));
    let seen: Vec<Value> = (0..3).map(|_| killed.next()).collect();
    assert_eq!(positions(&seen), demo[..3]);
    within(PATIENCE, "the two before it are acknowledged", || {
        let shown = listed(&dev, "billing");
        if shown["progress"]["acknowledged"] == demo[1] { Ok(()) } else { Err(shown.to_string()) }
    });
    killed.kill9();
    (5..=6).for_each(|n| work(&dev, n));
    let later = python.follow("audit", pending(&dev, "audit"), None).all();
    let expected = [&demo[2..], &of_demo(&later)].concat();
    let mut rest = positions(&python.follow("billing", expected.len() as u64, None).all());
    rest.sort_unstable();
    assert_eq!(rest, expected, "from the one that was not acknowledged on");

    within(GIVEN_AGAIN, "billing has nothing left to do", || {
        let shown = listed(&dev, "billing");
        let progress = &shown["progress"];
        let done = progress["pending"] == 0 && progress["unacknowledged"] == 0;
        if done && progress["acknowledged"].as_u64() >= expected.last().copied() {
            Ok(())
        } else {
            Err(shown.to_string())
        }
    });
}

#[test]
fn a_replay_begins_at_a_position_or_a_time() {
    let dev = Dev::start();
    let python = Python::prepare(&dev);
    (1..=3).for_each(|n| work(&dev, n));
    add(&dev, "audit", &["-p", "demo"]);
    let demo = python.follow("audit", pending(&dev, "audit"), None).all();
    let half = demo.len() / 2;
    let (middle, time) = (demo[half]["position"].to_string(), demo[half]["time"].as_str().unwrap());
    add(&dev, "by-position", &["-p", "demo", "--from-position", &middle]);
    add(&dev, "by-time", &["-p", "demo", "--from-time", time]);
    add(&dev, "by-new", &["-p", "demo", "--new"]);
    work(&dev, 4);
    let rest = positions(&python.follow("by-position", pending(&dev, "by-position"), None).all());
    assert_eq!(rest[..demo.len() - half], positions(&demo[half..]));
    let by_time = python.follow("by-time", pending(&dev, "by-time"), None).all();
    assert_eq!(positions(&by_time), rest);
    let new = python.follow("by-new", pending(&dev, "by-new"), None).all();
    assert_eq!(positions(&new), rest[demo.len() - half..]);
    assert!(!new.is_empty());

    // What is removed is gone for its program too, and its name is free.
    dev.cli_json(&["subscriber", "remove", "by-new", "--yes"]);
    assert!(dev.cli_json(&["subscriber", "list"])["total"] == 3);
    let mut orphan = python.follow("by-new", 1, None);
    let ended = eventually("the program notices", || orphan.child.try_wait().unwrap().ok_or_else(|| orphan.said()));
    assert!(!ended.success());
    std::fs::remove_file(dev.dir.path().join("by-new.creds")).unwrap();
    add(&dev, "by-new", &["-p", "demo", "--new"]);
}

/// Adds a subscriber; its credential and the answer lie where the program finds them.
fn add(dev: &Dev, name: &str, more: &[&str]) {
    let answer = dev.cli_json(&[&["subscriber", "add", name], more].concat());
    std::fs::write(dev.dir.path().join(format!("{name}.json")), answer.to_string()).unwrap();
}

fn listed(dev: &Dev, name: &str) -> Value {
    let list = dev.cli_json(&["subscriber", "list"]);
    list["subscribers"].as_array().unwrap().iter().find(|subscriber| subscriber["name"] == name).unwrap().clone()
}

/// Two facts in the project `demo`, and one elsewhere.
fn work(dev: &Dev, n: u32) {
    for (method, path, body) in [
        ("POST", "/api/v1/projects/demo/nodes/register", json!({"name": format!("n{n}")})),
        ("POST", "/api/v1/projects/demo/join-tokens", json!({"name": format!("t{n}")})),
        ("POST", "/api/v1/api-keys", json!({"name": format!("k{n}"), "scopes": ["nodes:read"]})),
    ] {
        let reply = dev.api(method, path, Some(&body));
        assert_eq!(reply.status, 201, "{path}: {}", reply.text);
    }
}

fn project(dev: &Dev, slug: &str) {
    let made = dev.api("POST", "/api/v1/projects", Some(&json!({"slug": slug})));
    assert_eq!(made.status, 201, "{}", made.text);
    let path = format!("/api/v1/projects/{slug}/join-tokens");
    assert_eq!(dev.api("POST", &path, Some(&json!({"name": "theirs"}))).status, 201);
}

/// Facts that wait for a subscriber.
fn pending(dev: &Dev, name: &str) -> u64 {
    listed(dev, name)["progress"]["pending"].as_u64().unwrap()
}

fn positions(facts: &[Value]) -> Vec<u64> {
    facts.iter().map(|fact| fact["position"].as_u64().unwrap()).collect()
}

fn of_demo(facts: &[Value]) -> Vec<u64> {
    let subject = |fact: &Value| fact["subject"].as_str().unwrap().to_owned();
    positions(
        &facts.iter().filter(|fact| subject(fact).starts_with("fleet.default.demo.")).cloned().collect::<Vec<_>>(),
    )
}

/// A Python with the client library, and the example as a module.
struct Python {
    program: PathBuf,
    dir: PathBuf,
    server: String,
}

/// The program, with a line for each fact that it was given. Killed when dropped.
struct Following {
    child: Child,
    facts: Lines<BufReader<ChildStdout>>,
    log: PathBuf,
}

impl Python {
    fn prepare(dev: &Dev) -> Python {
        let document = std::fs::read_to_string(root().join("docs/events.md")).unwrap();
        let example = document.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let dir = dev.dir.path().to_owned();
        std::fs::write(dir.join("example.py"), example).unwrap();
        Python { program: environment().join("bin/python"), dir, server: dev.file.get("nats_url").to_owned() }
    }

    fn follow(&self, name: &str, count: u64, hang: Option<u64>) -> Following {
        let log = self.dir.join(format!("{name}.log"));
        let mut command = Command::new(&self.program);
        command.arg(root().join("tests/subscriber.py")).arg(&self.server).current_dir(&self.dir);
        command.args([format!("{name}.creds"), format!("{name}.json"), count.to_string()]);
        command.args(hang.map(|hang| hang.to_string())).env("PYTHONPATH", &self.dir);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(std::fs::File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        let facts = BufReader::new(child.stdout.take().unwrap()).lines();
        Following { child, facts, log }
    }
}

impl Following {
    fn next(&mut self) -> Value {
        let line = self.facts.next().unwrap_or_else(|| panic!("ended: {}", self.said())).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// Until it ends by itself.
    fn all(mut self) -> Vec<Value> {
        let facts = self.facts.by_ref().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
        assert!(self.child.wait().unwrap().success(), "{}", self.said());
        facts
    }

    fn kill9(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A virtual environment with what `tests/requirements.txt` pins; made once, whatever how many tests ask at the same time.
pub fn environment() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let requirements = root().join("tests/requirements.txt");
        let (dir, wanted) =
            (Path::new(env!("CARGO_TARGET_TMPDIR")).join("python"), std::fs::read(&requirements).unwrap());
        // Written last: where it is, and says the same, everything is.
        let made = dir.join("requirements.txt");
        if std::fs::read(&made).is_ok_and(|found| found == wanted) {
            return dir;
        }
        let run = |program: &Path, arguments: &[&str]| {
            let target = if arguments[1] == "pip" { &requirements } else { &dir };
            let ran = Command::new(program).args(arguments).arg(target).output();
            let ran = ran.expect("python3 is needed: install it (Debian, Ubuntu: `apt-get install python3-venv`)");
            assert!(ran.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
        };
        run(Path::new("python3"), &["-m", "venv", "--clear"]);
        run(&dir.join("bin/python"), &["-m", "pip", "install", "--quiet", "--requirement"]);
        std::fs::write(made, wanted).unwrap();
        dir
    })
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}
