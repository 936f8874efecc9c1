//! Lists: one page, or all pages put together.

use crate::error::CliError;
use crate::session::Session;
use contract::{Operation, Page, Request};
use serde_json::Value;

/// With `--all`; a list that has still not ended then is a defect.
const PAGES_MAX: usize = 100_000;

#[derive(Clone, Debug, Default, clap::Args)]
pub struct Paging {
    /// Entries of one page [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=Page::LIMIT_MAX as u64))]
    pub limit: Option<u64>,
    /// Go through all pages
    #[arg(long)]
    pub all: bool,
}

/// Asks for a list. With `--all` the body is that of one large page: `name` holds every entry and `next` is null.
pub(crate) async fn fetch(
    session: &mut Session,
    operation: Operation,
    mut request: Request,
    name: &str,
    paging: &Paging,
) -> Result<Value, CliError> {
    if let Some(limit) = paging.limit {
        request.query.insert("limit".to_owned(), limit.to_string());
    }
    let mut body = session.ask(operation, request.clone()).await?;
    if !paging.all {
        return Ok(body);
    }
    let mut after = next(&body);
    for _ in 0..PAGES_MAX {
        let Some(cursor) = after else {
            return Ok(body);
        };
        request.query.insert("after".to_owned(), cursor.clone());
        let mut page = session.ask(operation, request.clone()).await?;
        after = next(&page);
        if after.as_ref() == Some(&cursor) {
            break;
        }
        let entries = page.get_mut(name).map(Value::take);
        match (body.get_mut(name), entries) {
            (Some(Value::Array(all)), Some(Value::Array(more))) => all.extend(more),
            _ => return Err(CliError::Unreadable(format!("no {name}"))),
        }
        body["next"] = Value::from(after.clone());
    }
    Err(CliError::Unreadable("the list does not end".to_owned()))
}

/// Prints a list, and says what is not shown of it.
pub(crate) fn show(
    session: &mut Session,
    body: &Value,
    name: &str,
    render: impl FnOnce(&Value, jiff::Timestamp) -> Result<String, CliError>,
) -> Result<(), CliError> {
    let shown = body.get(name).and_then(Value::as_array).map_or(0, Vec::len);
    if session.console.is_json() || shown > 0 {
        session.show(body, render)?;
    }
    if !session.console.is_json() {
        if shown == 0 {
            session.console.say(&format!("no {}", name.replace('_', " ")));
        }
        if next(body).is_some() {
            let total = body.get("total").and_then(Value::as_u64);
            let of = total.map_or_else(String::new, |total| format!(" of {total}"));
            session.console.say(&format!("{shown}{of} shown; --all shows the rest"));
        }
    }
    Ok(())
}

fn next(body: &Value) -> Option<String> {
    body.get("next")?.as_str().map(str::to_owned)
}
