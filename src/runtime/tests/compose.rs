//! `compose.yaml` by its structure: what nobody notices until a deployment fails.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use runtime::Settings;
use runtime::settings::{ExpectedSync, Profile};
use saphyr::{LoadableYamlNode, Yaml};

const SERVERS: [&str; 3] = ["nats-1", "nats-2", "nats-3"];
const REPLICAS: [&str; 2] = ["replica-1", "replica-2"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn text(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The services by name, read into plain texts.
struct Compose(BTreeMap<String, Service>);

struct Service {
    command: Vec<String>,
    image: String,
    target: String,
    depends_on: BTreeMap<String, String>,
    volumes: Vec<Mount>,
    ports: Vec<String>,
    networks: Vec<String>,
    environment: Vec<(String, String)>,
    restart: String,
    has_healthcheck: bool,
    is_tool: bool,
}

struct Mount {
    source: String,
    target: String,
    read_only: bool,
    subpath: Option<String>,
}

impl Compose {
    fn read() -> Self {
        let source = text("compose.yaml");
        let documents = Yaml::load_from_str(&source).unwrap();
        let services = documents[0]["services"].as_mapping().unwrap();
        Self(services.iter().map(|(name, service)| (string(name), Service::read(service))).collect())
    }

    fn of(&self, name: &str) -> &Service {
        self.0.get(name).unwrap_or_else(|| panic!("there is no service {name}"))
    }
}

impl Service {
    fn read(yaml: &Yaml<'_>) -> Self {
        let get = |key: &str| yaml.as_mapping_get(key);
        let depends_on = get("depends_on").and_then(|d| d.as_mapping());
        let depends_on = depends_on.into_iter().flatten().map(|(name, on)| (string(name), string(&on["condition"])));
        let environment = get("environment").and_then(|e| e.as_mapping());
        Self {
            command: strings(get("command")),
            image: get("image").map(string).unwrap_or_default(),
            target: get("build").map(|build| string(&build["target"])).unwrap_or_default(),
            depends_on: depends_on.collect(),
            volumes: get("volumes").and_then(|v| v.as_vec()).into_iter().flatten().map(Mount::read).collect(),
            ports: strings(get("ports")),
            networks: strings(get("networks")),
            environment: environment.into_iter().flatten().map(|(k, v)| (string(k), string(v))).collect(),
            restart: get("restart").map(string).unwrap_or_default(),
            has_healthcheck: get("healthcheck").is_some_and(|check| check.as_mapping().is_some()),
            is_tool: get("profiles").is_some(),
        }
    }

    /// The value of `--<name>=<value>`.
    fn flag(&self, name: &str) -> Option<&str> {
        self.command.iter().find_map(|word| word.strip_prefix("--")?.strip_prefix(name)?.strip_prefix('='))
    }

    fn mount_at(&self, target: &str) -> Option<&Mount> {
        self.volumes.iter().find(|mount| mount.target == target)
    }
}

impl Mount {
    fn read(yaml: &Yaml<'_>) -> Self {
        if let Some(text) = yaml.as_str() {
            let parts: Vec<&str> = text.split(':').collect();
            let read_only = parts.get(2).is_some_and(|mode| *mode == "ro");
            return Self { source: parts[0].to_owned(), target: parts[1].to_owned(), read_only, subpath: None };
        }
        Self {
            source: string(&yaml["source"]),
            target: string(&yaml["target"]),
            read_only: yaml.as_mapping_get("read_only").and_then(|r| r.as_bool()).unwrap_or(false),
            subpath: yaml.as_mapping_get("volume").map(|volume| string(&volume["subpath"])),
        }
    }
}

fn string(yaml: &Yaml<'_>) -> String {
    yaml.as_str().unwrap_or_else(|| panic!("{yaml:?} is no text")).to_owned()
}

fn strings(yaml: Option<&Yaml<'_>>) -> Vec<String> {
    yaml.and_then(|list| list.as_vec()).into_iter().flatten().map(string).collect()
}

#[test]
fn three_servers_with_three_names_and_stores_form_one_cluster() {
    let compose = Compose::read();
    let all: Vec<&String> = compose.0.keys().filter(|name| name.starts_with("nats-")).collect();
    assert_eq!(all, SERVERS);
    let expected_routes = SERVERS.map(|name| format!("nats://{name}:6222")).join(",");
    for name in SERVERS {
        let server = compose.of(name);
        assert_eq!(server.flag("server_name"), Some(name));
        assert_eq!(server.flag("cluster_name"), Some("pilothouse"));
        assert_eq!(server.flag("cluster"), Some("nats://0.0.0.0:6222"));
        assert_eq!(server.flag("routes"), Some(expected_routes.as_str()));
        assert!(server.ports.is_empty(), "{name} is reachable from outside");
        assert_eq!(server.networks, ["routes", "facts"]);
        let conf = server.flag("config").unwrap();
        assert_eq!(server.mount_at(conf).unwrap().source, "./nats-server.conf");
        let include = Path::new(conf).with_file_name("installation.conf");
        let include = server.mount_at(include.to_str().unwrap()).unwrap();
        assert_eq!((include.read_only, include.subpath.as_deref()), (true, Some("installation.conf")));
        let store = server.volumes.iter().find(|mount| mount.source == name).unwrap();
        let declared = format!("store_dir: \"{}\"", store.target);
        assert!(
            runtime::NATS_SERVER_CONF.contains(&declared),
            "the volume is not where nats-server.conf has its store"
        );
        let resolver = compose.of("init").flag("resolver-dir").unwrap();
        assert!(Path::new(resolver).starts_with(&store.target), "revocations would not survive a new container");
    }
}

#[test]
fn replicas_wait_for_the_installation_and_for_every_server() {
    let compose = Compose::read();
    for name in REPLICAS {
        let replica = compose.of(name);
        assert_eq!(replica.depends_on["init"], "service_completed_successfully", "{name}");
        for server in SERVERS {
            assert_eq!(replica.depends_on[server], "service_healthy", "{name}");
        }
        assert!(replica.mount_at("/etc/pilothouse").unwrap().read_only);
        let config = replica.flag("config").unwrap();
        assert_eq!(replica.mount_at(config).unwrap().source, "./config/compose.toml");
    }
    for server in SERVERS {
        assert_eq!(compose.of(server).depends_on["init"], "service_completed_successfully");
    }
    for (name, service) in &compose.0 {
        for needed in service.depends_on.iter().filter(|(_, condition)| *condition == "service_healthy") {
            assert!(compose.of(needed.0).has_healthcheck, "{name} waits for the health of {}", needed.0);
        }
    }
}

#[test]
fn services_come_back_and_only_the_node_and_the_replicas_share_a_network() {
    let compose = Compose::read();
    for (name, service) in compose.0.iter().filter(|(_, service)| !service.is_tool) {
        let expected = if name == "init" { "on-failure:3" } else { "unless-stopped" };
        assert_eq!(service.restart, expected, "{name}");
        assert!(service.has_healthcheck || name == "init" || name == "agent", "{name} has no health check");
    }
    assert_eq!(compose.of("agent").networks, ["fleet"]);
    let installation: Vec<_> = compose.of("agent").volumes.iter().filter(|m| m.source == "installation").collect();
    assert_eq!(installation.len(), 1);
    assert_eq!(installation[0].subpath.as_deref(), Some("ca.pem"), "a node sees no secret of the installation");
}

#[test]
fn each_file_and_image_that_is_named_exists_and_each_port_is_published_once() {
    let compose = Compose::read();
    let dockerfile = text("Dockerfile");
    let mut published = BTreeSet::new();
    for (name, service) in &compose.0 {
        let stage = format!(" AS {}\n", service.target);
        assert!(dockerfile.contains(&stage), "{name}: the Dockerfile has no stage {}", service.target);
        assert!(!service.image.is_empty(), "{name}");
        for mount in service.volumes.iter().filter(|mount| mount.source.starts_with('.')) {
            assert!(root().join(&mount.source).is_file(), "{name}: {} does not exist", mount.source);
            assert!(mount.read_only, "{name}: {} can be written from a container", mount.source);
        }
        for port in &service.ports {
            let host = port.rsplit_once(':').unwrap().0.rsplit(':').next().unwrap();
            assert!(published.insert(host.to_owned()), "{name}: port {host} is published twice");
        }
    }
}

#[test]
fn the_image_build_sees_every_file_that_the_program_embeds() {
    let visible = text(".dockerignore");
    let visible: BTreeSet<&str> = visible.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let root = root().canonicalize().unwrap();
    let mut embedded = BTreeSet::new();
    for source in sources(&root.join("src")) {
        let code = fs::read_to_string(&source).unwrap();
        for after in code.split("include_str!(\"").chain(code.split("include_bytes!(\"")).skip(1) {
            let Some((path, _)) = after.split_once("\")") else { continue };
            // Names in macros and comments are no files; the compiler refuses those that it misses.
            let Ok(path) = source.parent().unwrap().join(path).canonicalize() else { continue };
            let Ok(path) = path.strip_prefix(&root) else { continue };
            embedded.insert(path.iter().next().unwrap().to_str().unwrap().to_owned());
        }
    }
    assert!(embedded.contains("config") && embedded.contains("nats-server.conf"), "{embedded:?}");
    for name in embedded.iter().map(String::as_str).chain(["Cargo.toml", "Cargo.lock", "src", "tests"]) {
        assert!(visible.contains(name), ".dockerignore hides {name}, without which the program does not build");
    }
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let (directories, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let rust = files.into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "rs"));
    rust.chain(directories.iter().flat_map(|directory| sources(directory))).collect()
}

#[test]
fn no_secret_is_inline() {
    let compose = Compose::read();
    for (name, service) in &compose.0 {
        for (variable, value) in &service.environment {
            let allowed = variable == "PILOTHOUSE_SERVER" || value.starts_with('/');
            assert!(allowed, "{name}: {variable} is neither a path nor the address of a server");
        }
    }
    for file in ["compose.yaml", "Dockerfile", "config/compose.toml", "config/compose-agent.toml", "nats-server.conf"] {
        let text = text(file);
        // Seeds of NATS begin with S and the kind of key, JWTs with the base64 of `{"`.
        for mark in ["-----BEGIN", "eyJ", "SUA", "SAA", "SOA", "password", "token ="] {
            assert!(!text.contains(mark), "{file} contains {mark}");
        }
    }
}

#[test]
fn the_replicas_expect_what_three_synced_servers_give() {
    let settings =
        Settings::load(Some(&root().join("config/compose.toml")), []).unwrap_or_else(|error| panic!("{error}"));
    let storage = &settings.storage;
    assert_eq!((storage.profile, storage.expected_sync), (Profile::Production, ExpectedSync::Always));
    assert_eq!((storage.replicas, storage.expected_replicas), (3, 3));
    assert_eq!(settings.nats.servers, SERVERS.map(|name| format!("nats://{name}:4222")));
    let installed = [
        settings.nats.runtime_creds,
        settings.nats.provisioning_creds,
        settings.nats.monitor_creds,
        settings.keys.master_key,
        settings.https.certificate,
        settings.https.private_key,
    ];
    for path in installed {
        assert!(path.unwrap().starts_with("/etc/pilothouse"), "all that is secret comes from the installation");
    }
}
