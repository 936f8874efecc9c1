//! Where a command reads and writes: data on stdout, talk on stderr, questions only to a person at a terminal.

use crate::error::CliError;
use crate::globals::Output;
use crate::render::plain;
use jiff::Timestamp;
use serde::Serialize;
use std::io::{self, BufRead, IsTerminal, Write};

/// Where the terminal does not say how wide it is.
const COLUMNS_DEFAULT: u16 = 80;
const ERASE_LINE: &str = "\r\u{1b}[2K";

pub(crate) struct Console {
    pub data: Box<dyn Write>,
    pub talk: Box<dyn Write>,
    pub input: Box<dyn BufRead>,
    pub data_is_terminal: bool,
    /// Somebody is there to answer a question.
    pub asks: bool,
    /// Width of the terminal.
    pub columns: u16,
    pub output: Output,
    pub clock: fn() -> Timestamp,
}

impl Console {
    pub fn of_process(output: Output) -> Console {
        let columns = rustix::termios::tcgetwinsize(io::stdout()).map_or(0, |size| size.ws_col);
        Console {
            data: Box::new(io::stdout()),
            talk: Box::new(io::stderr()),
            input: Box::new(io::stdin().lock()),
            data_is_terminal: io::stdout().is_terminal(),
            asks: io::stdin().is_terminal() && io::stderr().is_terminal(),
            columns: if columns == 0 { COLUMNS_DEFAULT } else { columns },
            output,
            clock: Timestamp::now,
        }
    }

    pub fn is_json(&self) -> bool {
        self.output == Output::Json
    }

    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Prints lines of data and makes them visible at once.
    pub fn print(&mut self, text: &str) -> Result<(), CliError> {
        let text = text.trim_end_matches('\n');
        writeln!(self.data, "{text}").and_then(|()| self.data.flush()).map_err(CliError::Output)
    }

    /// A body as it was answered, indented. An answer without a body prints nothing.
    pub fn print_json(&mut self, body: &serde_json::Value) -> Result<(), CliError> {
        if body.is_null() {
            return Ok(());
        }
        self.print(&format!("{body:#}"))
    }

    /// One line of a stream of JSON values.
    pub fn print_json_line(&mut self, value: &impl Serialize) -> Result<(), CliError> {
        let line = serde_json::to_string(value).map_err(|error| CliError::Unreadable(error.to_string()))?;
        self.print(&line)
    }

    /// Replaces the line drawn before, on a terminal.
    pub fn redraw(&mut self, line: &str) -> Result<(), CliError> {
        let cut: String = line.chars().take(usize::from(self.columns.saturating_sub(1))).collect();
        write!(self.data, "{ERASE_LINE}{cut}").and_then(|()| self.data.flush()).map_err(CliError::Output)
    }

    /// Removes the redrawn line, so that a lasting one can stand in its place.
    pub fn erase(&mut self) -> Result<(), CliError> {
        write!(self.data, "{ERASE_LINE}").map_err(CliError::Output)
    }

    /// Talk. Whether it can be written changes nothing about the command.
    pub fn say(&mut self, text: &str) {
        let _ = writeln!(self.talk, "{}", plain(text));
    }

    pub fn complain(&mut self, error: &CliError) {
        if !self.is_json() {
            return self.say(&format!("error: {error}"));
        }
        let body = serde_json::to_string(&error.body()).unwrap_or_else(|_| error.to_string());
        let _ = writeln!(self.talk, "{body}");
    }

    /// Asks before something that cannot be undone. `what` is a question without its mark.
    pub fn confirm(&mut self, what: &str, yes: bool) -> Result<(), CliError> {
        if yes {
            return Ok(());
        }
        if !self.asks {
            return Err(CliError::Usage(format!("{what}? Say so with --yes, there is no terminal to ask on")));
        }
        let _ = write!(self.talk, "{}? [y/N] ", plain(what)).and_then(|()| self.talk.flush());
        let mut line = String::new();
        let read = self.input.read_line(&mut line);
        read.map_err(|source| CliError::System { action: "read the answer", source })?;
        match line.trim().to_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(CliError::Declined),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use crate::testing::console;

    #[test]
    fn nothing_destructive_without_a_yes() {
        let (mut silent, ..) = console(Output::Table, "y\n");
        assert_eq!(silent.confirm("Delete node a", false).unwrap_err().exit(), Exit::Usage);
        assert!(silent.confirm("Delete node a", true).is_ok());
        for (typed, accepted) in [("y\n", true), ("YES\n", true), ("\n", false), ("", false), ("n\n", false)] {
            let (mut console, _, talk) = console(Output::Table, typed);
            console.asks = true;
            assert_eq!(console.confirm("Delete node a", false).is_ok(), accepted, "{typed:?}");
            assert_eq!(talk.text(), "Delete node a? [y/N] ");
        }
    }

    #[test]
    fn talk_cannot_steer_the_terminal() {
        let (mut console, _, talk) = console(Output::Table, "");
        console.say("name \u{1b}]0;x\u{7} taken");
        assert_eq!(talk.text(), "name \\u{1b}]0;x\\u{7} taken\n");
    }

    #[test]
    fn errors_are_a_sentence_or_a_body() {
        let error = CliError::NobodyAnswers { url: "nats://x".to_owned() };
        let (mut table, data, talk) = console(Output::Table, "");
        table.complain(&error);
        assert!(talk.text().starts_with("error: no control plane answers at nats://x: "));
        let (mut json, _, talk) = console(Output::Json, "");
        json.complain(&error);
        let body: contract::ErrorBody = serde_json::from_str(&talk.text()).unwrap();
        assert_eq!((body, data.text()), (error.body(), String::new()));
    }
}
