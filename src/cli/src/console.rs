//! Where a command reads and writes: data on stdout, talk on stderr, questions only to a person at a terminal.

use crate::color::{self, cut, unpainted};
use crate::error::CliError;
use crate::globals::{Globals, Output};
use crate::render::{plain, steers};
use crate::surroundings::Surroundings;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use std::io::{self, BufRead, IsTerminal, Write};

/// Where the terminal does not say how large it is.
const COLUMNS_DEFAULT: u16 = 80;
const ROWS_DEFAULT: u16 = 24;
const ERASE_LINE: &str = "\r\u{1b}[2K";
/// To the upper left corner, and away with everything below it.
const ERASE_SCREEN: &str = "\u{1b}[H\u{1b}[2J";
/// Begins every document of a stream of YAML.
const YAML_DOCUMENT: &str = "---\n";

pub(crate) struct Console {
    pub data: Box<dyn Write>,
    pub talk: Box<dyn Write>,
    pub input: Box<dyn BufRead>,
    pub data_is_terminal: bool,
    /// Data and talk are coloured.
    pub colors: (bool, bool),
    /// Somebody is there to answer a question.
    pub asks: bool,
    /// Size of the terminal.
    pub columns: u16,
    pub rows: u16,
    pub output: Output,
    pub clock: fn() -> Timestamp,
}

impl Console {
    pub fn of_process(globals: &Globals, around: &Surroundings) -> Console {
        let (rows, columns) =
            rustix::termios::tcgetwinsize(io::stdout()).map_or((0, 0), |size| (size.ws_row, size.ws_col));
        let (data, talk) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        let colors = |terminal| color::wanted(globals.color, around, terminal);
        Console {
            data: Box::new(io::stdout()),
            talk: Box::new(io::stderr()),
            input: Box::new(io::stdin().lock()),
            data_is_terminal: data,
            colors: (colors(data), colors(talk)),
            asks: io::stdin().is_terminal() && talk,
            columns: if columns == 0 { COLUMNS_DEFAULT } else { columns },
            rows: if rows == 0 { ROWS_DEFAULT } else { rows },
            output: globals.output,
            clock: Timestamp::now,
        }
    }

    /// The output is for a program: the answer's body as it is, and nothing else.
    pub fn is_structured(&self) -> bool {
        self.output != Output::Table
    }

    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Prints lines of data and makes them visible at once.
    pub fn print(&mut self, text: &str) -> Result<(), CliError> {
        let text = text.trim_end_matches('\n');
        let text = if self.colors.0 { text.to_owned() } else { unpainted(text) };
        self.write(&text)
    }

    /// Prints text of another form than the options ask for.
    pub fn print_raw(&mut self, text: &str) -> Result<(), CliError> {
        self.write(text.trim_end_matches('\n'))
    }

    /// Prints an answer: its body as it is, or what `render` makes of it.
    pub fn show(
        &mut self,
        body: &Value,
        render: impl FnOnce(&Value, Timestamp) -> Result<String, CliError>,
    ) -> Result<(), CliError> {
        if self.is_structured() {
            return self.print_body(body);
        }
        let text = render(body, self.now())?;
        self.print(&text)
    }

    /// A body as it was answered. An answer without a body prints nothing.
    pub fn print_body(&mut self, body: &Value) -> Result<(), CliError> {
        if body.is_null() {
            return Ok(());
        }
        match self.output {
            Output::Yaml => self.write(yaml(body)?.trim_end_matches('\n')),
            Output::Json | Output::Table => self.write(&harmless(&format!("{body:#}"))),
        }
    }

    /// One value of a stream.
    pub fn print_item(&mut self, value: &impl Serialize) -> Result<(), CliError> {
        match self.output {
            Output::Yaml => self.write(&format!("{YAML_DOCUMENT}{}", yaml(value)?.trim_end_matches('\n'))),
            Output::Json | Output::Table => self.write(&json(value)?),
        }
    }

    /// Says what was done, where that is not told by data.
    pub fn done(&mut self, body: &Value, text: &str) -> Result<(), CliError> {
        if self.is_structured() {
            return self.print_body(body);
        }
        self.say(text);
        Ok(())
    }

    /// Replaces the line drawn before, on a terminal.
    pub fn redraw(&mut self, line: &str) -> Result<(), CliError> {
        let line = cut(line, usize::from(self.columns.saturating_sub(1)));
        write!(self.data, "{ERASE_LINE}{line}").and_then(|()| self.data.flush()).map_err(CliError::Output)
    }

    /// Replaces everything drawn before, on a terminal. What does not fit is left out.
    pub fn redraw_screen(&mut self, text: &str) -> Result<(), CliError> {
        // The last row stays free for the cursor, and one for the line that says what is left out.
        let room = usize::from(self.rows.saturating_sub(2)).max(1);
        let mut lines: Vec<String> = text.lines().map(|line| cut(line, usize::from(self.columns))).collect();
        let over = lines.len().saturating_sub(room);
        lines.truncate(room);
        if over > 0 {
            lines.push(format!("… {over} more"));
        }
        let text = lines.join("\n");
        let text = if self.colors.0 { text } else { unpainted(&text) };
        self.write(&format!("{ERASE_SCREEN}{text}"))
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
        let body = match self.output {
            Output::Table => None,
            Output::Json => json(&error.body()).ok(),
            Output::Yaml => yaml(&error.body()).ok(),
        };
        let _ = match body {
            Some(body) => writeln!(self.talk, "{}", body.trim_end_matches('\n')),
            None if self.colors.1 => writeln!(self.talk, "{} {}", color::error("error:"), plain(&error.to_string())),
            None => writeln!(self.talk, "error: {}", plain(&error.to_string())),
        };
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

    fn write(&mut self, text: &str) -> Result<(), CliError> {
        writeln!(self.data, "{text}").and_then(|()| self.data.flush()).map_err(CliError::Output)
    }
}

fn json(value: &impl Serialize) -> Result<String, CliError> {
    let text = serde_json::to_string(value).map_err(|error| CliError::Unreadable(error.to_string()))?;
    Ok(harmless(&text))
}

/// The same JSON without characters that could steer a terminal. Those above ASCII stand in strings only, and the others are
/// escaped there already.
fn harmless(json: &str) -> String {
    json.chars().fold(String::with_capacity(json.len()), |mut out, c| {
        match steers(c) && !c.is_ascii() {
            true => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => out.push(c),
        }
        out
    })
}

fn yaml(value: &impl Serialize) -> Result<String, CliError> {
    serde_saphyr::to_string(value).map_err(|error| CliError::Unreadable(error.to_string()))
}

#[cfg(test)]
mod tests;
