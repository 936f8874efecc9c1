//! What the tests of this crate share: credentials, a captured console, and a scripted control plane on a real nats-server.

mod fake;

pub(crate) use fake::{Fake, Ran, Server, on_server, on_server_with};

use crate::commands::Command;
use crate::console::Console;
use crate::globals::{Globals, Output, TIMEOUT_S_DEFAULT};
use crate::surroundings::Surroundings;
use crate::target::Target;
use clap::Parser;
use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;
use nkeys::KeyPair;
use std::cell::RefCell;
use std::io::{self, Cursor, Write};
use std::rc::Rc;

/// The command line as the binary embeds it.
#[derive(Debug, Parser)]
#[command(name = "pilothouse")]
pub(crate) struct Root {
    #[command(flatten)]
    pub globals: Globals,
    #[command(subcommand)]
    pub command: Command,
}

pub(crate) fn globals() -> Globals {
    Globals { timeout: TIMEOUT_S_DEFAULT, ..Globals::default() }
}

pub(crate) fn creds_of(public_key: &str, seed: &str) -> String {
    let encode = |json: String| BASE64URL_NOPAD.encode(json.as_bytes());
    let jwt = format!(
        "{}.{}.c2lnbmF0dXJl",
        encode(r#"{"typ":"JWT","alg":"ed25519-nkey"}"#.to_owned()),
        encode(format!(
            r#"{{"iat":0,"iss":"A","sub":"{public_key}","nats":{{"type":"user","issuer_account":"ACLIENTS","version":2}}}}"#
        ))
    );
    format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
        ************************* IMPORTANT *************************\n\n\
        -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
}

pub(crate) fn creds_text() -> String {
    let key = KeyPair::new_user();
    creds_of(&key.public_key(), &key.seed().expect("a new key has its seed"))
}

#[derive(Clone, Default)]
pub(crate) struct Captured(Rc<RefCell<Vec<u8>>>);

impl Captured {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.borrow()).into_owned()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A target that is never connected to.
pub(crate) fn target() -> Target {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let creds = dir.path().join("operator.creds");
    std::fs::write(&creds, creds_text()).expect("a file");
    let given = Globals { server: Some("nats://127.0.0.1:1".to_owned()), creds: Some(creds), ..globals() };
    Target::resolve(&given, &Surroundings::of_test(dir.path(), &[])).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn noon() -> Timestamp {
    "2026-01-02T12:00:00Z".parse().expect("a time stamp")
}

/// A console that keeps what is written; at noon, without a terminal unless the test sets one.
pub(crate) fn console(output: Output, input: &str) -> (Console, Captured, Captured) {
    let (data, talk) = (Captured::default(), Captured::default());
    let console = Console {
        data: Box::new(data.clone()),
        talk: Box::new(talk.clone()),
        input: Box::new(Cursor::new(input.to_owned().into_bytes())),
        data_is_terminal: false,
        colors: (false, false),
        asks: false,
        columns: 80,
        rows: 24,
        output,
        clock: noon,
    };
    (console, data, talk)
}
