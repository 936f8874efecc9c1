//! Text for people: aligned tables, relative times, sizes. What others chose (names, versions, reasons) is shown without its
//! control characters, so that nothing stored in the fleet can steer an operator's terminal. States are coloured here, always;
//! the console takes the colours away where they are not wanted.

use crate::color;
use jiff::Timestamp;
use std::fmt;

const GAP: &str = "  ";
/// Shown for what is absent.
pub(crate) const NONE: &str = "-";

/// What the columns and fields are called that hold a state.
const STATES: [&str; 2] = ["STATE", "STATUS"];

/// Rows under headings, columns as wide as their widest cell.
pub(crate) struct Table<const N: usize> {
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    pub fn new(headings: [&str; N]) -> Table<N> {
        Table { rows: vec![headings.map(str::to_owned)] }
    }

    pub fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| if cell.is_empty() { NONE.to_owned() } else { plain(&cell) }));
    }
}

impl<const N: usize> fmt::Display for Table<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut widths = [0; N];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut rows = self.rows.iter();
        let headings = rows.next();
        let is_state = |column: usize| headings.is_some_and(|headings| STATES.contains(&headings[column].as_str()));
        if let Some(headings) = headings {
            writeln!(f, "{}", color::heading(line(headings, &widths, |_, cell| cell.to_owned()).trim_end()))?;
        }
        for row in rows {
            let paint = |column: usize, cell: &str| if is_state(column) { color::state(cell) } else { cell.to_owned() };
            writeln!(f, "{}", line(row, &widths, paint).trim_end())?;
        }
        Ok(())
    }
}

/// Cells with what fills their columns; the room is measured before the paint.
fn line(cells: &[String], widths: &[usize], paint: impl Fn(usize, &str) -> String) -> String {
    let padded = cells.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
        let room = " ".repeat(width.saturating_sub(cell.chars().count()));
        paint(column, cell) + &room + GAP
    });
    padded.collect()
}

/// Name and value, one pair a line.
#[derive(Default)]
pub(crate) struct Details {
    rows: Vec<[String; 2]>,
}

impl Details {
    pub fn add(&mut self, name: &str, value: impl fmt::Display) -> &mut Details {
        let value = plain(&value.to_string());
        self.rows.push([format!("{name}:"), if value.is_empty() { NONE.to_owned() } else { value }]);
        self
    }

    /// Only where there is something to say.
    pub fn add_some(&mut self, name: &str, value: Option<impl fmt::Display>) -> &mut Details {
        if let Some(value) = value {
            self.add(name, value);
        }
        self
    }
}

impl fmt::Display for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|[name, _]| name.chars().count()).max().unwrap_or(0);
        self.rows.iter().try_for_each(|[name, value]| {
            let is_state = STATES.iter().any(|state| name.trim_end_matches(':').eq_ignore_ascii_case(state));
            let value = if is_state { color::state(value) } else { value.clone() };
            writeln!(f, "{name:width$}{GAP}{value}")
        })
    }
}

/// Control characters, and those that reorder text.
pub(crate) fn steers(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text with control characters, and those that reorder text, written as escapes.
pub(crate) fn plain(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if steers(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
        out
    })
}

/// `12s ago`, `5m ago`, `3h ago`, `2d ago`, `in 5m`.
pub(crate) fn relative(now: Timestamp, time: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(time.as_second());
    let size = seconds.unsigned_abs();
    let amount = match size {
        0..60 => format!("{size}s"),
        60..3_600 => format!("{}m", size / 60),
        3_600..172_800 => format!("{}h", size / 3_600),
        _ => format!("{}d", size / 86_400),
    };
    if seconds < 0 { format!("in {amount}") } else { format!("{amount} ago") }
}

/// [`relative`], or nothing.
pub(crate) fn relative_or_none(now: Timestamp, time: Option<Timestamp>) -> String {
    time.map_or_else(String::new, |time| relative(now, time))
}

/// Both for reading and for comparing: `2026-01-02T11:00:00Z (1h ago)`.
pub(crate) fn moment(now: Timestamp, time: Timestamp) -> String {
    format!("{time} ({})", relative(now, time))
}

/// `512 B`, `1.5 KiB`, `3.0 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    const KIB: u64 = 1024;
    const MIB: u64 = 1024 * KIB;
    match bytes {
        0..KIB => format!("{bytes} B"),
        KIB..MIB => format!("{:.1} KiB", bytes as f64 / KIB as f64),
        _ => format!("{:.1} MiB", bytes as f64 / MIB as f64),
    }
}

/// `env=production,region=eu`
pub(crate) fn pairs<'a>(map: impl IntoIterator<Item = (&'a String, &'a String)>) -> String {
    map.into_iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::color::unpainted;
    use crate::testing::noon;
    use expect_test::expect;

    #[test]
    fn columns_are_aligned_and_hold_no_control_characters() {
        let mut table = Table::new(["ID", "NAME", "SEEN"]);
        table.row(["1".to_owned(), "größe".to_owned(), String::new()]);
        table.row(["1000".to_owned(), "a\u{1b}[2Jb\nc".to_owned(), "1s ago".to_owned()]);
        expect![[r#"
            ID    NAME               SEEN
            1     größe              -
            1000  a\u{1b}[2Jb\u{a}c  1s ago
        "#]]
        .assert_eq(&unpainted(&table.to_string()));
    }

    #[test]
    fn details_leave_out_what_is_absent() {
        let mut details = Details::default();
        details.add("id", 7).add_some("ip", None::<&str>).add("hostname", "").add_some("long name", Some("x"));
        expect![[r#"
            id:         7
            hostname:   -
            long name:  x
        "#]]
        .assert_eq(&unpainted(&details.to_string()));
    }

    #[test]
    fn states_are_coloured_without_moving_a_column() {
        let mut table = Table::new(["STATE", "NAME"]);
        table.row(["failed".to_owned(), "failed".to_owned()]);
        table.row(["ok".to_owned(), "b".to_owned()]);
        let red = "\u{1b}[31mfailed\u{1b}[0m";
        assert_eq!(table.to_string(), format!("\u{1b}[1mSTATE   NAME\u{1b}[0m\n{red}  failed\nok      b\n"));
        let mut details = Details::default();
        details.add("name", "failed").add("state", "failed");
        assert_eq!(details.to_string(), format!("name:   failed\nstate:  {red}\n"));
    }

    #[test]
    fn times_are_told_from_now() {
        let at = |seconds: i64| relative(noon(), Timestamp::from_second(noon().as_second() - seconds).unwrap());
        let told = [0, 59, 60, 3_599, 7_200, 172_799, 172_800, -90].map(at);
        assert_eq!(told, ["0s ago", "59s ago", "1m ago", "59m ago", "2h ago", "47h ago", "2d ago", "in 1m"]);
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!([0, 1023, 1536, 3 << 20].map(size), ["0 B", "1023 B", "1.5 KiB", "3.0 MiB"]);
    }
}
