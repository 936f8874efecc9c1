//! `pilothouse bench heartbeats|journal|offers`.

mod baseline;
mod client;
mod heartbeats;
mod journal_rows;
mod latency;
mod offers;
mod replay;
mod servers;
mod stage;

use anyhow::{Context, Result};
use clap::Subcommand;
use serde::Serialize;
use serde_json::Value;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Heartbeats per second over HTTPS with node tokens, answered durable, beside the same HTTPS stack with an empty handler
    Heartbeats(heartbeats::Options),
    /// Facts per second through append beside raw publishes, and rebuilding the views beside a bare replay
    Journal(journal_rows::Options),
    /// Time from a rollout's creation to the offers of nodes that wait, beside plain questions for the same offers
    Offers(offers::Options),
    /// The HTTPS stack with a handler that reads the body and answers
    #[command(hide = true)]
    Baseline(baseline::Options),
}

/// One row of the budget: what was measured, beside what.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub what: String,
    /// `measured / baseline`, the median over the rounds.
    pub ratio: f64,
    /// What the ratio must reach, and what it should; absent where nothing is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aim: Option<f64>,
    pub measured_per_s: f64,
    pub baseline_per_s: f64,
    /// Ratio of every round, in order.
    pub rounds: Vec<f64>,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub details: Value,
}

impl Row {
    /// Rounds are pairs of (measured, baseline), taken one right after the other.
    pub fn of(what: String, budget: Option<(f64, f64)>, pairs: &[(f64, f64)], details: Value) -> Row {
        let ratios = pairs.iter().map(|(measured, baseline)| measured / baseline);
        Row {
            what,
            ratio: median(ratios.clone().collect()),
            floor: budget.map(|(floor, _)| floor),
            aim: budget.map(|(_, aim)| aim),
            measured_per_s: median(pairs.iter().map(|pair| pair.0).collect()),
            baseline_per_s: median(pairs.iter().map(|pair| pair.1).collect()),
            rounds: ratios.collect(),
            details,
        }
    }
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

/// Prints the rows, as JSON or for people.
pub fn run(arguments: Arguments, json: bool) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("could not start the asynchronous runtime")?;
    let rows = match arguments.what {
        What::Baseline(options) => return runtime.block_on(baseline::serve(options)),
        What::Heartbeats(options) => runtime.block_on(heartbeats::run(&options))?,
        What::Offers(options) => runtime.block_on(offers::run(&options))?,
        What::Journal(options) => runtime.block_on(journal_rows::run(&options))?,
    };
    match json {
        true => println!("{}", serde_json::to_string_pretty(&rows)?),
        false => rows.iter().for_each(print_row),
    }
    Ok(())
}

fn print_row(row: &Row) {
    let budget = row.floor.zip(row.aim);
    let budget = budget
        .map_or_else(String::new, |(floor, aim)| format!(" (floor {:.0} %, aim {:.0} %)", floor * 100.0, aim * 100.0));
    let (percent, measured, baseline) = (row.ratio * 100.0, row.measured_per_s, row.baseline_per_s);
    println!("{}: {percent:.0} % of the baseline{budget}: {measured:.0}/s beside {baseline:.0}/s", row.what);
    if !row.details.is_null() {
        println!("  {}", row.details);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_the_median_of_its_rounds() {
        let row = Row::of("x".into(), Some((0.5, 0.8)), &[(1.0, 2.0), (9.0, 10.0), (6.0, 10.0)], Value::Null);
        assert_eq!((row.ratio, row.measured_per_s, row.baseline_per_s), (0.6, 6.0, 10.0));
        assert_eq!(row.rounds, [0.5, 0.9, 0.6]);
    }
}
