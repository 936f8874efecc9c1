//! Lists: one page, or all pages put together; once, or again whenever something changes.

use crate::error::CliError;
use crate::exit::Exit;
use crate::follow::{Watched, follow, project_facts};
use crate::session::Session;
use crate::waker::Waker;
use contract::{Operation, Page, Request};
use jiff::Timestamp;
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

/// Makes text of a body.
pub(crate) type Render = fn(&Value, Timestamp) -> Result<String, CliError>;

/// A list as it was asked for.
pub(crate) struct List {
    pub operation: Operation,
    pub request: Request,
    /// The field that holds the entries.
    pub name: &'static str,
    pub paging: Paging,
    pub render: Render,
}

impl List {
    pub async fn run(self, session: &mut Session<'_>, watch: bool) -> Result<Exit, CliError> {
        if watch {
            let facts = project_facts(session)?;
            return self.watch(session, &facts).await;
        }
        let body = self.fetch(session).await?;
        show(session, &body, self.name, self.render)?;
        Ok(Exit::Ok)
    }

    /// Shows it again whenever one of these facts is committed.
    pub async fn watch(self, session: &mut Session<'_>, facts: &str) -> Result<Exit, CliError> {
        let waker = Waker::new(session, facts).await?;
        let ended = follow(session, waker, &mut Watch { list: self, shown: None }, None).await?;
        Ok(ended.unwrap_or(Exit::Ok))
    }

    /// With `--all` the body is that of one large page: it holds every entry and `next` is null.
    pub async fn fetch(&self, session: &mut Session<'_>) -> Result<Value, CliError> {
        let mut request = self.request.clone();
        if let Some(limit) = self.paging.limit {
            request.query.insert("limit".to_owned(), limit.to_string());
        }
        let mut body = session.ask(self.operation, request.clone()).await?;
        if !self.paging.all {
            return Ok(body);
        }
        let mut after = next(&body);
        for _ in 0..PAGES_MAX {
            let Some(cursor) = after else {
                return Ok(body);
            };
            request.query.insert("after".to_owned(), cursor.clone());
            let mut page = session.ask(self.operation, request.clone()).await?;
            after = next(&page);
            if after.as_ref() == Some(&cursor) {
                break;
            }
            let entries = page.get_mut(self.name).map(Value::take);
            match (body.get_mut(self.name), entries) {
                (Some(Value::Array(all)), Some(Value::Array(more))) => all.extend(more),
                _ => return Err(CliError::Unreadable(format!("no {}", self.name))),
            }
            body["next"] = Value::from(after.clone());
        }
        Err(CliError::Unreadable("the list does not end".to_owned()))
    }
}

/// Prints a list, and says what is not shown of it.
pub(crate) fn show(session: &mut Session<'_>, body: &Value, name: &str, render: Render) -> Result<(), CliError> {
    if session.console.is_structured() || length(body, name) > 0 {
        session.show(body, render)?;
    }
    if !session.console.is_structured() {
        for remark in remarks(body, name) {
            session.console.say(&remark);
        }
    }
    Ok(())
}

/// A list that is read again whenever a fact that concerns it is committed. A terminal shows the newest state alone; elsewhere
/// each state follows the one before.
struct Watch {
    list: List,
    shown: Option<Value>,
}

impl Watched for Watch {
    async fn read(&mut self, session: &mut Session<'_>) -> Result<Value, CliError> {
        self.list.fetch(session).await
    }

    fn show(&mut self, session: &mut Session<'_>, body: &Value) -> Result<Option<Exit>, CliError> {
        let List { name, render, .. } = self.list;
        let changed = self.shown.as_ref() != Some(body);
        if session.console.is_structured() {
            if changed {
                session.console.print_item(body)?;
            }
        } else if session.console.data_is_terminal {
            // Also without a change: times are told from now.
            let table = if length(body, name) > 0 { render(body, session.console.now())? } else { String::new() };
            let text = table + &remarks(body, name).join("\n");
            session.console.redraw_screen(&text)?;
        } else if changed {
            if self.shown.is_some() {
                session.console.print("")?;
            }
            show(session, body, name, render)?;
        }
        if changed {
            self.shown = Some(body.clone());
        }
        Ok(None)
    }

    fn trouble(&mut self, session: &mut Session<'_>, error: &CliError) -> Result<(), CliError> {
        session.console.say(&format!("{error}; still trying"));
        Ok(())
    }
}

/// What a person should know beside the entries.
fn remarks(body: &Value, name: &str) -> Vec<String> {
    let shown = length(body, name);
    let none = (shown == 0).then(|| format!("no {}", name.replace('_', " ")));
    let more = next(body).map(|_| {
        let total = body.get("total").and_then(Value::as_u64);
        let of = total.map_or_else(String::new, |total| format!(" of {total}"));
        format!("{shown}{of} shown; --all shows the rest")
    });
    none.into_iter().chain(more).collect()
}

fn length(body: &Value, name: &str) -> usize {
    body.get(name).and_then(Value::as_array).map_or(0, Vec::len)
}

fn next(body: &Value) -> Option<String> {
    body.get("next")?.as_str().map(str::to_owned)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::globals::Output;
    use crate::testing::{Fake, on_server};
    use contract::{ApiError, ErrorCode};
    use serde_json::json;

    fn bundles(versions: &[&str]) -> Value {
        let entry = |version: &&str| {
            let mut bundle = crate::commands::bundle_body("compiled");
            bundle["version"] = (*version).into();
            bundle
        };
        json!({"bundles": versions.iter().map(entry).collect::<Vec<_>>(), "total": versions.len(), "next": null})
    }

    /// Answers with one list after the other, and at last that the project is gone.
    async fn watch(server: &crate::testing::Server, output: Output) -> crate::testing::Ran {
        let mut fake = Fake::start(server, |_, _, times| match times {
            0 => Fake::ok(200, bundles(&[]), 5),
            1 | 2 => Fake::ok(200, bundles(&["1"]), 5),
            3 => Fake::fail(ApiError::new(ErrorCode::Unavailable, "not caught up")),
            4 => Fake::ok(200, bundles(&["1", "2"]), 5),
            _ => Fake::fail(ApiError::not_found("Project")),
        })
        .await;
        fake.commit_after_each("fleet.default.demo.bundle.b1.created", 5);
        fake.run(output, "bundle list --watch -p demo", "").await
    }

    #[test]
    fn a_watched_list_is_printed_whenever_it_changes() {
        on_server(async |server| {
            let ran = watch(&server, Output::Table).await;
            assert_eq!(ran.exit, Exit::NotFound);
            assert_eq!(ran.talk, "no bundles\nnot caught up; still trying\nerror: Project not found\n");
            expect_test::expect![[r#"

                ID                                    VERSION  STATUS    SIZE     CREATED
                019b7d3c-0000-7000-8000-0000000000b1  1        compiled  1.5 KiB  1h ago

                ID                                    VERSION  STATUS    SIZE     CREATED
                019b7d3c-0000-7000-8000-0000000000b1  1        compiled  1.5 KiB  1h ago
                019b7d3c-0000-7000-8000-0000000000b1  2        compiled  1.5 KiB  1h ago
            "#]]
            .assert_eq(&ran.data);
        });
    }

    #[test]
    fn a_watched_list_is_one_json_value_a_line() {
        on_server(async |server| {
            let ran = watch(&server, Output::Json).await;
            let totals: Vec<Value> =
                ran.data.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["total"].clone()).collect();
            assert_eq!(totals, [0, 1, 2]);
        });
    }
}
