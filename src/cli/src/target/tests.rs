#![allow(clippy::unwrap_used)]

use super::places::DEV_FILE;
use super::*;
use crate::contexts::{Context, Contexts};
use crate::testing::{self, globals};
use std::fs;

/// A home with the contexts `prod` and `stage`, and a directory in which `pilothouse dev` ran.
struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        for name in [".pilothouse/admin.creds", "prod.creds", "stage.creds", "given.creds"] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, testing::creds_text()).unwrap();
        }
        let dev = r#"{"nats_url":"nats://dev","operator_creds":"admin.creds","project":"demo","api_key":"x"}"#;
        fs::write(dir.path().join(DEV_FILE), dev).unwrap();
        let mut contexts = Contexts::default();
        for name in ["prod", "stage"] {
            let context = Context {
                server: format!("nats://{name}"),
                creds: dir.path().join(format!("{name}.creds")),
                ca_file: None,
                project: Some(format!("{name}-project")),
            };
            contexts.contexts.insert(name.to_owned(), context);
        }
        let world = World { dir };
        contexts.save(&world.around(&[])).unwrap();
        world
    }

    fn around(&self, variables: &[(&str, &str)]) -> Surroundings {
        let home = self.dir.path().to_str().unwrap();
        Surroundings::of_test(self.dir.path(), &[variables, &[("HOME", home)]].concat())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn using(self, name: &str) -> World {
        let around = self.around(&[]);
        let mut contexts = Contexts::load(&around).unwrap();
        contexts.current = Some(name.to_owned());
        contexts.save(&around).unwrap();
        self
    }

    /// Server and project.
    fn found(&self, globals: &Globals, variables: &[(&str, &str)]) -> (String, String) {
        let target = Target::resolve(globals, &self.around(variables)).unwrap_or_else(|error| panic!("{error}"));
        let project = target.project().map_or_else(|error| error.to_string(), |slug| slug.to_string());
        (target.url, project)
    }

    fn error(&self, globals: &Globals, variables: &[(&str, &str)]) -> String {
        Target::resolve(globals, &self.around(variables)).err().unwrap().to_string()
    }
}

fn pair(server: &str, project: &str) -> (String, String) {
    (server.to_owned(), project.to_owned())
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn the_places_have_an_order() {
    let world = World::new();
    assert_eq!(world.found(&globals(), &[]), pair("nats://dev", "demo"));
    let world = world.using("stage");
    assert_eq!(world.found(&globals(), &[]), pair("nats://stage", "stage-project"));
    assert_eq!(world.found(&globals(), &[("PILOTHOUSE_CONTEXT", "prod")]), pair("nats://prod", "prod-project"));
    let creds = world.path("given.creds");
    let environment = [
        ("PILOTHOUSE_SERVER", "nats://variable"),
        ("PILOTHOUSE_CREDS", creds.to_str().unwrap()),
        ("PILOTHOUSE_PROJECT", "variable"),
    ];
    assert_eq!(world.found(&globals(), &environment), pair("nats://variable", "variable"));
    let options = Globals { server: text("nats://option"), project: text("option"), ..globals() };
    assert_eq!(world.found(&options, &environment), pair("nats://option", "option"));
}

#[test]
fn what_an_option_names_stands_before_the_environment() {
    let world = World::new();
    let creds = world.path("given.creds");
    let environment = [("PILOTHOUSE_SERVER", "nats://variable"), ("PILOTHOUSE_CREDS", creds.to_str().unwrap())];
    let context = Globals { context: text("prod"), ..globals() };
    assert_eq!(world.found(&context, &environment), pair("nats://prod", "prod-project"));
    let dev = Globals { dev_file: Some(DEV_FILE.into()), ..globals() };
    assert_eq!(world.found(&dev, &environment), pair("nats://dev", "demo"));
    let project = [("PILOTHOUSE_PROJECT", "edge")];
    assert_eq!(world.found(&dev, &project), pair("nats://dev", "edge"));
    let both = Globals { context: text("prod"), ..dev };
    assert_eq!(world.error(&both, &[]), "--context and --dev-file cannot both say where to connect");
}

#[test]
fn a_named_server_is_never_asked_with_another_credential_by_accident() {
    let world = World::new().using("prod");
    let alone = Globals { server: text("nats://control.example"), ..globals() };
    assert_eq!(world.error(&alone, &[]), "--server needs --creds FILE (or PILOTHOUSE_CREDS)");
    let creds = Globals { creds: Some(world.path("given.creds")), ..globals() };
    assert_eq!(world.error(&creds, &[]), "--creds needs --server URL (or PILOTHOUSE_SERVER)");
    let named = Globals { context: text("stage"), ..alone };
    assert_eq!(world.found(&named, &[]), pair("nats://control.example", "stage-project"));
}

#[test]
fn only_options_and_variables_confine() {
    let world = World::new();
    let explicit = |globals: &Globals, variables: &[(&str, &str)]| {
        Target::resolve(globals, &world.around(variables)).ok().unwrap().project_is_explicit
    };
    assert!(!explicit(&globals(), &[]));
    assert!(!explicit(&Globals { context: text("prod"), ..globals() }, &[]));
    assert!(explicit(&globals(), &[("PILOTHOUSE_PROJECT", "edge")]));
    assert!(explicit(&Globals { project: text("edge"), ..globals() }, &[]));
}

#[test]
fn an_error_names_the_places_that_were_looked_at() {
    let world = World::new();
    fs::remove_file(world.path(DEV_FILE)).unwrap();
    let file = Contexts::path(&world.around(&[])).unwrap();
    assert_eq!(
        world.error(&globals(), &[]),
        format!(
            "no server given: looked at --server, PILOTHOUSE_SERVER, the contexts in {} (none is in use) and \
            .pilothouse/dev.json (not there); use --server and --creds, `pilothouse context use NAME`, or run this where \
            `pilothouse dev` runs",
            file.display()
        )
    );
    let given = Globals { server: text("nats://option"), creds: Some(world.path("given.creds")), ..globals() };
    let none = "no project given: looked at --project and PILOTHOUSE_PROJECT; use --project SLUG";
    assert_eq!(world.found(&given, &[]), pair("nats://option", none));
    fs::write(world.path(DEV_FILE), r#"{"nats_url":"nats://dev","operator_creds":"admin.creds"}"#).unwrap();
    let none = "no project given: looked at --project, PILOTHOUSE_PROJECT and the dev file .pilothouse/dev.json; \
        use --project SLUG";
    assert_eq!(world.found(&globals(), &[]), pair("nats://dev", none));
}

#[test]
fn what_cannot_be_used_is_told_without_quoting_secrets() {
    let world = World::new();
    let wrong = Globals { project: text("No.Slug"), ..globals() };
    let message = "the project \"No.Slug\" must be lowercase letters, digits and inner hyphens";
    assert_eq!(world.error(&wrong, &[]), message);
    fs::write(world.path(DEV_FILE), "{\"api_key\": secret").unwrap();
    assert!(!world.error(&globals(), &[]).contains("secret"));
    let unknown = [("PILOTHOUSE_CONTEXT", "nowhere")];
    assert_eq!(world.error(&globals(), &unknown), "there is no context \"nowhere\"; known are prod, stage");
    let ca = Globals { context: text("prod"), ca_file: Some("/nowhere/ca.pem".into()), ..globals() };
    assert!(world.error(&ca, &[]).starts_with("could not read /nowhere/ca.pem ("));
}

#[test]
fn a_password_in_the_url_is_not_shown() {
    let world = World::new();
    let mut target = Target::resolve(&globals(), &world.around(&[])).ok().unwrap();
    target.url = "nats://me:pass@control.example:4222".to_owned();
    assert_eq!(target.shown_url(), "nats://control.example:4222");
}
