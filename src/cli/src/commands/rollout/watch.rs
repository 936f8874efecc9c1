//! `pilothouse rollout watch`: follows a rollout to its end. Facts of the project wake it; what it shows is always read from
//! the control plane, never derived from the facts.

use super::{cause, counts, end, pause, read_detail, ways_out};
use crate::error::CliError;
use crate::exit::Exit;
use crate::follow::{Watched, follow, project_facts};
use crate::render::plain;
use crate::session::Session;
use crate::waker::Waker;
use contract::{Operation, ProgressBody, RolloutDetail};
use serde_json::Value;

const BAR_CELLS: u64 = 24;

pub(crate) async fn run(id: &str, session: &mut Session<'_>) -> Result<Exit, CliError> {
    let facts = project_facts(session)?;
    let waker = Waker::new(session, &facts).await?;
    let mut watch = Watch { id: id.to_owned(), shown: Shown::default() };
    Ok(follow(session, waker, &mut watch, None).await?.unwrap_or(Exit::Ok))
}

struct Watch {
    id: String,
    shown: Shown,
}

impl Watched for Watch {
    async fn read(&mut self, session: &mut Session<'_>) -> Result<Value, CliError> {
        session.ask(Operation::RolloutShow, session.on(&self.id)?).await
    }

    fn show(&mut self, session: &mut Session<'_>, body: &Value) -> Result<Option<Exit>, CliError> {
        let detail = read_detail(body)?;
        self.shown.show(session, body, &detail)?;
        Ok(end(&detail.rollout))
    }

    fn trouble(&mut self, session: &mut Session<'_>, error: &CliError) -> Result<(), CliError> {
        self.shown.tell(session, &format!("{error}; still trying"))
    }

    fn abandon(&mut self, session: &mut Session<'_>) -> Result<(), CliError> {
        self.shown.clear(session)
    }
}

/// What has been shown so far, so that only changes are told.
#[derive(Default)]
struct Shown {
    line: Option<String>,
    told: Option<String>,
    body: Option<Value>,
    paused: Option<String>,
}

impl Shown {
    fn began(&self) -> bool {
        self.line.is_some()
    }

    fn show(&mut self, session: &mut Session<'_>, body: &Value, detail: &RolloutDetail) -> Result<(), CliError> {
        self.told = None;
        let line = progress_line(detail);
        let changed = self.line.as_ref() != Some(&line);
        self.line = Some(line.clone());
        if session.console.is_structured() {
            if self.body.as_ref() != Some(body) {
                session.console.print_item(body)?;
            }
            self.body = Some(body.clone());
            return Ok(());
        }
        let terminal = session.console.data_is_terminal;
        let paused = pause(&detail.rollout);
        if paused != self.paused {
            if let Some(why) = &paused {
                self.keep(session, &format!("paused: {why}"))?;
                session.console.say(&ways_out(&detail.rollout.id));
            }
            self.paused = paused;
        }
        if end(&detail.rollout).is_some() {
            if changed && !terminal {
                session.console.print(&line)?;
            }
            return self.keep(session, &last_line(detail));
        }
        match terminal {
            true => session.console.redraw(&line),
            false if changed => session.console.print(&line),
            false => Ok(()),
        }
    }

    /// A line of data that stays.
    fn keep(&self, session: &mut Session<'_>, line: &str) -> Result<(), CliError> {
        self.clear(session)?;
        session.console.print(&plain(line))
    }

    /// Frees the line that is redrawn on a terminal.
    fn clear(&self, session: &mut Session<'_>) -> Result<(), CliError> {
        if session.console.data_is_terminal && self.began() && !session.console.is_structured() {
            session.console.erase()?;
        }
        Ok(())
    }

    /// Talk, once for every different text.
    fn tell(&mut self, session: &mut Session<'_>, text: &str) -> Result<(), CliError> {
        if self.told.as_deref() != Some(text) {
            self.clear(session)?;
            session.console.say(text);
            self.told = Some(text.to_owned());
        }
        Ok(())
    }
}

fn progress_line(detail: &RolloutDetail) -> String {
    let mut line = format!("{} {} {}", bar(&detail.progress), detail.rollout.state, counts(&detail.progress));
    if let Some(step) = detail.steps.last() {
        line.push_str(&format!(", step {}", step.step_index + 1));
    }
    if let Some(waiting) = &detail.waiting_for {
        line.push_str(&format!("; waits for {waiting}"));
    }
    plain(&line)
}

fn last_line(detail: &RolloutDetail) -> String {
    let state = &detail.rollout.state;
    match &detail.rollout.error {
        Some(error) => format!("{state}: {}", cause(error)),
        None => format!("{state}: {}", counts(&detail.progress)),
    }
}

/// `#` active, `!` failed, `-` deferred, `.` to come. Full only when nothing is to come.
fn bar(progress: &ProgressBody) -> String {
    let total = u64::from(progress.total).max(1);
    let mut cells = String::from("[");
    let (mut count, mut filled) = (0, 0);
    for (nodes, sign) in [(progress.active, '#'), (progress.failed, '!'), (progress.deferred, '-')] {
        count += u64::from(nodes);
        let until = (count * BAR_CELLS / total).min(BAR_CELLS);
        cells.extend((filled..until).map(|_| sign));
        filled = filled.max(until);
    }
    cells.extend((filled..BAR_CELLS).map(|_| '.'));
    cells.push(']');
    cells
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::tests::{ID, detail_body};
    use super::*;
    use crate::globals::Output;
    use crate::testing::{Fake, console, on_server, target};
    use contract::{ApiError, ErrorCode};
    use expect_test::expect;

    fn bar_of(total: u32, [pending, active, failed, deferred]: [u32; 4]) -> String {
        bar(&ProgressBody { total, pending, active, failed, deferred })
    }

    #[test]
    fn a_bar_is_full_only_at_the_end() {
        assert_eq!(bar_of(0, [0; 4]), "[........................]");
        assert_eq!(bar_of(8, [4, 2, 1, 1]), "[######!!!---............]");
        assert_eq!(bar_of(10_000, [1, 9_999, 0, 0]), "[#######################.]");
        assert_eq!(bar_of(3, [0, 3, 0, 0]), "[########################]");
        assert_eq!(bar_of(1, [0, u32::MAX, u32::MAX, 0]), "[########################]");
    }

    /// Answers with one state after the other, woken by facts.
    async fn watch(server: &crate::testing::Server, states: Vec<Value>, output: Output) -> crate::testing::Ran {
        let mut fake = Fake::start(server, move |operation, request, times| {
            assert_eq!((operation, request.id.as_deref()), (Operation::RolloutShow, Some(ID)));
            match &states[times.min(states.len() - 1)] {
                Value::Null => Fake::fail(ApiError::new(ErrorCode::Unavailable, "not caught up")),
                body => Fake::ok(200, body.clone(), 5),
            }
        })
        .await;
        fake.commit_after_each("fleet.default.demo.node.n1.activated", 5);
        fake.run(output, &format!("rollout watch {ID} -p demo"), "").await
    }

    #[test]
    fn changes_are_lines_when_nobody_looks_at_a_terminal() {
        on_server(async |server| {
            let running = detail_body("running", [2, 0, 0, 0]);
            let states = vec![
                running.clone(),
                running,
                Value::Null,
                detail_body("paused", [1, 0, 1, 0]),
                detail_body("running", [1, 1, 0, 0]),
                detail_body("completed", [0, 2, 0, 0]),
            ];
            let ran = watch(&server, states, Output::Table).await;
            assert_eq!(ran.exit, Exit::Ok);
            expect![[r#"
                [........................] running 0/2 active, 2 pending, 0 failed, 0 deferred, step 2; waits for 1 node of step 2 to report the bundle
                paused: activation failed: port 80 is taken, step 2, nodes n1 n2
                [!!!!!!!!!!!!............] paused 0/2 active, 1 pending, 1 failed, 0 deferred, step 2
                [############............] running 1/2 active, 1 pending, 0 failed, 0 deferred, step 2; waits for 1 node of step 2 to report the bundle
                [########################] completed 2/2 active, 0 pending, 0 failed, 0 deferred, step 2
                completed: 2/2 active, 0 pending, 0 failed, 0 deferred
            "#]].assert_eq(&ran.data);
            expect![[r#"
                not caught up; still trying
                resume with `pilothouse rollout resume 019b7d3c-0000-7000-8000-0000000000c1`, or end it with `pilothouse rollout cancel 019b7d3c-0000-7000-8000-0000000000c1`
            "#]].assert_eq(&ran.talk);
        });
    }

    #[test]
    fn one_line_is_redrawn_on_a_terminal_and_what_matters_stays() {
        let (mut console, data, _) = console(Output::Table, "");
        (console.data_is_terminal, console.columns) = (true, 44);
        let mut session = Session::new(target(), &mut console);
        let mut shown = Shown::default();
        for (state, counts) in [("running", [2, 0, 0, 0]), ("paused", [1, 1, 0, 0]), ("completed", [0, 2, 0, 0])] {
            let body = detail_body(state, counts);
            shown.show(&mut session, &body, &read_detail(&body).unwrap()).unwrap();
        }
        let told = data.text().replace("\r\u{1b}[2K", "<erase>");
        expect![[r#"
            <erase>[........................] running 0/2 acti<erase>paused: activation failed: port 80 is taken, step 2, nodes n1 n2
            <erase>[############............] paused 1/2 activ<erase>completed: 2/2 active, 0 pending, 0 failed, 0 deferred
        "#]].assert_eq(&told);
    }

    #[test]
    fn a_failed_rollout_is_a_failure_and_json_is_one_line_per_change() {
        on_server(async |server| {
            let running = detail_body("running", [1, 0, 0, 0]);
            let states = vec![running.clone(), running, detail_body("failed", [0, 0, 1, 0])];
            let ran = watch(&server, states, Output::Json).await;
            assert_eq!((ran.exit, ran.talk.as_str()), (Exit::Failure, ""));
            let states: Vec<String> = ran
                .data
                .lines()
                .map(|line| serde_json::from_str::<Value>(line).unwrap()["rollout"]["state"].to_string())
                .collect();
            assert_eq!(states, ["\"running\"", "\"failed\""]);
        });
    }

    #[test]
    fn an_unknown_rollout_ends_the_watch_at_once() {
        on_server(async |server| {
            let mut fake = Fake::start(&server, |_, _, _| Fake::fail(ApiError::not_found("Rollout"))).await;
            let ran = fake.run(Output::Table, &format!("rollout watch {ID} -p demo"), "").await;
            assert_eq!((ran.exit, ran.talk.as_str()), (Exit::NotFound, "error: Rollout not found\n"));
        });
    }
}
