//! `pilothouse node receipts`: what a node signed. Each signature is verified here, with nothing but the receipt itself: the
//! control plane is not asked whether it is right.

use crate::answer::read_list;
use crate::complete::{Live, live};
use crate::error::CliError;
use crate::exit::Exit;
use crate::listing::{self, List, Paging};
use crate::render::{Table, relative};
use crate::session::Session;
use contract::{Operation, ReceiptBody};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use trust::SignedReceipt;

/// As much of a digest as a table shows.
const DIGEST_CHARS: usize = 12;

#[derive(Clone, Debug, clap::Args)]
pub struct Receipts {
    /// Id or name
    #[arg(add = live(Live::Nodes))]
    node: String,
    #[command(flatten)]
    paging: Paging,
}

#[derive(Deserialize)]
struct Judged {
    #[serde(flatten)]
    receipt: ReceiptBody,
    verified: bool,
}

pub(super) async fn run(asked: Receipts, session: &mut Session<'_>) -> Result<Exit, CliError> {
    let request = session.on(&asked.node)?;
    let project = session.target.project()?.to_string();
    let (operation, paging) = (Operation::NodeReceipts, asked.paging);
    let list = List { operation, request, name: "receipts", paging, render: table };
    let mut body = list.fetch(session).await?;
    let doubtful = judge(&mut body, &project)?;
    listing::show(session, &body, list.name, list.render)?;
    if doubtful == 0 {
        return Ok(Exit::Ok);
    }
    session.console.say(&format!("{doubtful} not verified: the node did not sign what is told of it"));
    Ok(Exit::Failure)
}

/// Writes `verified` into every receipt of the page, and counts those that are not.
fn judge(body: &mut Value, project: &str) -> Result<usize, CliError> {
    let receipts = read_list::<ReceiptBody>(body, "receipts")?;
    let verdicts: Vec<bool> = receipts.iter().map(|receipt| is_genuine(receipt, project)).collect();
    let entries = body.get_mut("receipts").and_then(Value::as_array_mut).into_iter().flatten();
    for (entry, verified) in entries.zip(&verdicts) {
        entry["verified"] = (*verified).into();
    }
    Ok(verdicts.iter().filter(|verified| !**verified).count())
}

/// The key signed it, and it says what is told of it.
fn is_genuine(told: &ReceiptBody, project: &str) -> bool {
    let receipt = &told.receipt;
    let signed = SignedReceipt {
        payload: receipt.payload.clone(),
        signature: receipt.signature.clone(),
        public_key: receipt.public_key.to_string(),
    };
    let Ok(stated) = trust::verify_receipt(&signed) else { return false };
    let counter = (stated.counter.epoch, stated.counter.position);
    (stated.project.as_str(), &stated.node_id) == (project, &told.node_id)
        && stated.bundle_id == receipt.bundle_id.to_string()
        && stated.digest == receipt.digest.as_str()
        && (counter, stated.activated_at) == ((receipt.counter.epoch, receipt.counter.position), receipt.activated_at)
}

fn table(body: &Value, now: Timestamp) -> Result<String, CliError> {
    let mut table = Table::new(["ACTIVATED", "BUNDLE", "DIGEST", "COUNTER", "FACT", "VERIFIED"]);
    for Judged { receipt: ReceiptBody { position, receipt, .. }, verified } in read_list::<Judged>(body, "receipts")? {
        table.row([
            relative(now, receipt.activated_at),
            receipt.bundle_id.to_string(),
            receipt.digest.as_str().chars().take(DIGEST_CHARS).collect(),
            format!("{}.{}", receipt.counter.epoch, receipt.counter.position),
            position.to_string(),
            if verified { "yes" } else { "no" }.to_owned(),
        ]);
    }
    Ok(table.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;
    use crate::color::unpainted;
    use crate::globals::Output;
    use crate::testing::{Fake, noon, on_server};
    use expect_test::expect;
    use serde_json::json;
    use trust::nats::{KeyKind, NatsKey};
    use trust::{Counter, Receipt, sign_receipt};

    const NODE: &str = "019b7d3c-0000-7000-8000-000000000001";
    const BUNDLE: &str = "019b7d3c-0000-7000-8000-0000000000b1";

    /// One genuine receipt of the project `demo`.
    pub(crate) fn receipts_body() -> Value {
        let receipt = Receipt {
            org: "default".into(),
            project: "demo".into(),
            node_id: NODE.into(),
            bundle_id: BUNDLE.into(),
            digest: "0a".repeat(32),
            counter: Counter { epoch: 0, position: 42 },
            activated_at: "2026-01-02T11:59:18Z".parse().unwrap(),
        };
        let signed = sign_receipt(&NatsKey::generate(KeyKind::User), &receipt);
        json!({"next": null, "receipts": [{"node_id": NODE, "position": 44, "received_at": "2026-01-02T11:59:19Z",
            "bundle_id": BUNDLE, "digest": receipt.digest, "counter": receipt.counter,
            "activated_at": "2026-01-02T11:59:18Z", "payload": signed.payload, "signature": signed.signature,
            "public_key": signed.public_key}]})
    }

    #[test]
    fn receipts_are_a_table_with_a_verdict() {
        let mut body = receipts_body();
        assert_eq!(judge(&mut body, "demo").unwrap(), 0);
        expect![[r#"
            ACTIVATED  BUNDLE                                DIGEST        COUNTER  FACT  VERIFIED
            42s ago    019b7d3c-0000-7000-8000-0000000000b1  0a0a0a0a0a0a  0.42     44    yes
        "#]]
        .assert_eq(&unpainted(&table(&body, noon()).unwrap()));
    }

    #[test]
    fn what_the_node_did_not_sign_is_not_verified() {
        let doubtful = |change: &dyn Fn(&mut Value)| {
            let mut body = receipts_body();
            change(&mut body["receipts"][0]);
            judge(&mut body, "demo").unwrap()
        };
        let other = |field: &'static str, value: Value| doubtful(&|receipt| receipt[field] = value.clone());
        assert_eq!(doubtful(&|_| {}), 0);
        assert_eq!(other("bundle_id", NODE.into()), 1);
        assert_eq!(other("node_id", BUNDLE.into()), 1);
        assert_eq!(other("digest", "0b".repeat(32).into()), 1);
        assert_eq!(other("counter", json!({"epoch": 0, "position": 43})), 1);
        assert_eq!(other("activated_at", "2026-01-02T11:59:17Z".into()), 1);
        let another = receipts_body()["receipts"][0].clone();
        assert_eq!(other("signature", another["signature"].clone()), 1);
        assert_eq!(other("public_key", another["public_key"].clone()), 1);
        assert_eq!(judge(&mut receipts_body(), "another").unwrap(), 1);
    }

    #[test]
    fn the_command_fails_when_one_is_doubtful() {
        on_server(async |server| {
            let fake = Fake::start(&server, |_, _, _| {
                let mut body = receipts_body();
                let mut second = body["receipts"][0].clone();
                second["digest"] = "0b".repeat(32).into();
                body["receipts"].as_array_mut().unwrap().push(second);
                Fake::ok(200, body, 5)
            });
            let ran = fake.await.run(Output::Json, "node receipts proxy-1 -p demo", "").await;
            assert_eq!(ran.exit, Exit::Failure, "{}", ran.talk);
            let told: Value = serde_json::from_str(&ran.data).unwrap();
            assert_eq!(
                (&told["receipts"][0]["verified"], &told["receipts"][1]["verified"]),
                (&json!(true), &json!(false))
            );
        });
    }
}
