//! `pilothouse bundle …`

mod assign;
mod create;

use crate::answer::{read, read_list};
use crate::arguments::{Confirm, Mutation, Watching};
use crate::complete::{Live, live};
use crate::error::CliError;
use crate::exit::Exit;
use crate::listing::{List, Paging};
use crate::render::{Details, Table, moment, relative, size};
use crate::session::Session;
use contract::{BundleBody, BundleDownload, BundleVerification, Operation, Request};
use jiff::Timestamp;
use serde_json::{Value, json};

#[derive(Clone, Debug, clap::Subcommand)]
pub enum Verb {
    /// Compile a configuration into a bundle
    #[command(
        after_help = "Example:\n  pilothouse bundle create 1.0.0 --file zentinel.kdl\n  pilothouse bundle create 1.0.1 --file - --no-wait"
    )]
    Create(create::Create),
    /// List bundles, newest first
    #[command(after_help = "Example:\n  pilothouse bundle list --limit 10\n  pilothouse bundle list --watch")]
    List {
        #[command(flatten)]
        watching: Watching,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show a bundle
    #[command(after_help = "Example:\n  pilothouse bundle show 1.0.0")]
    Show {
        /// Id or version
        #[arg(add = live(Live::Bundles))]
        bundle: String,
    },
    /// Forbid further deployment; nodes that run it keep running it
    #[command(after_help = "Example:\n  pilothouse bundle revoke 1.0.0 --reason \"leaks headers\" --yes")]
    Revoke {
        /// Id or version
        #[arg(add = live(Live::Bundles))]
        bundle: String,
        /// Kept with the fact
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        confirm: Confirm,
        #[command(flatten)]
        mutation: Mutation,
    },
    /// Assign a bundle to nodes without a rollout
    #[command(after_help = "Example:\n  pilothouse bundle assign 1.0.0 --node proxy-us-east-1 --node proxy-us-east-2")]
    Assign(assign::Assign),
    /// Delete a bundle that was never deployed
    #[command(after_help = "Example:\n  pilothouse bundle delete 1.0.0 --yes")]
    Delete {
        /// Id or version
        #[arg(add = live(Live::Bundles))]
        bundle: String,
        #[command(flatten)]
        confirm: Confirm,
        #[command(flatten)]
        mutation: Mutation,
    },
    /// Have the archive read back and its digest and signature checked
    #[command(after_help = "Example:\n  pilothouse bundle verify 1.0.0")]
    Verify {
        /// Id or version
        #[arg(add = live(Live::Bundles))]
        bundle: String,
    },
    /// Print where the archive can be fetched for a while, and its checksum
    #[command(after_help = "Example:\n  pilothouse bundle download 1.0.0 -o json")]
    Download {
        /// Id or version
        #[arg(add = live(Live::Bundles))]
        bundle: String,
    },
}

pub(crate) async fn run(verb: Verb, session: &mut Session<'_>) -> Result<Exit, CliError> {
    match verb {
        Verb::Create(create) => return create::run(create, session).await,
        Verb::Assign(assign) => return assign::run(assign, session).await,
        Verb::List { watching, paging } => {
            let (operation, request) = (Operation::BundleList, session.in_project()?);
            let list = List { operation, request, name: "bundles", paging, render: table };
            return list.run(session, watching.watch).await;
        }
        Verb::Show { bundle } => {
            let body = session.ask(Operation::BundleShow, session.on(&bundle)?).await?;
            session.show(&body, details)?;
        }
        Verb::Revoke { bundle, reason, confirm, mutation } => {
            let body = reason.map_or_else(|| json!({}), |reason| json!({ "reason": reason }));
            let request = Request { body, idempotency_key: mutation.idempotency_key, ..session.on(&bundle)? };
            session.console.confirm(&format!("Forbid any further deployment of bundle {bundle}"), confirm.yes)?;
            let body = session.ask(Operation::BundleRevoke, request).await?;
            session.show(&body, details)?;
        }
        Verb::Delete { bundle, confirm, mutation } => {
            let request = Request { idempotency_key: mutation.idempotency_key, ..session.on(&bundle)? };
            session.console.confirm(&format!("Delete bundle {bundle}"), confirm.yes)?;
            let body = session.ask(Operation::BundleDelete, request).await?;
            session.console.done(&body, &format!("bundle {bundle} is deleted"))?;
        }
        Verb::Verify { bundle } => {
            let body = session.ask(Operation::BundleVerify, session.on(&bundle)?).await?;
            session.show(&body, verification)?;
            let holds = read::<BundleVerification>(&body, "verification")?.verified;
            return Ok(if holds { Exit::Ok } else { Exit::Failure });
        }
        Verb::Download { bundle } => {
            let body = session.ask(Operation::BundleDownload, session.on(&bundle)?).await?;
            session.show(&body, download)?;
        }
    }
    Ok(Exit::Ok)
}

fn table(body: &Value, now: Timestamp) -> Result<String, CliError> {
    let mut table = Table::new(["ID", "VERSION", "STATUS", "SIZE", "CREATED"]);
    for bundle in read_list::<BundleBody>(body, "bundles")? {
        let bytes = bundle.size_bytes.map(size).unwrap_or_default();
        table.row([bundle.id, bundle.version, bundle.status, bytes, relative(now, bundle.inserted_at)]);
    }
    Ok(table.to_string())
}

fn details(body: &Value, now: Timestamp) -> Result<String, CliError> {
    let bundle: BundleBody = read(body, "bundle")?;
    let mut details = Details::default();
    details
        .add("id", &bundle.id)
        .add("version", &bundle.version)
        .add("project", &bundle.project_id)
        .add("status", &bundle.status)
        .add_some("checksum", bundle.checksum)
        .add_some("size", bundle.size_bytes.map(size))
        .add("source", size(bundle.source_bytes))
        .add_some("signing key", bundle.signing_key_id)
        .add_some("proxy version", bundle.proxy_version)
        .add("created", moment(now, bundle.inserted_at));
    for file in bundle.manifest.unwrap_or_default() {
        details.add("file", format!("{} ({}, sha256:{})", file.path, size(file.bytes), file.sha256));
    }
    for problem in &bundle.compiler_output {
        details.add("compiler", create::problem_line("", problem));
    }
    Ok(details.to_string())
}

fn verification(body: &Value, _now: Timestamp) -> Result<String, CliError> {
    let found: BundleVerification = read(body, "verification")?;
    let said = |holds: bool| if holds { "yes" } else { "no" };
    let mut details = Details::default();
    details
        .add("verified", said(found.verified))
        .add("signed", said(found.signed))
        .add_some("signing key", found.key_id)
        .add_some("problem", found.problem);
    Ok(details.to_string())
}

fn download(body: &Value, _now: Timestamp) -> Result<String, CliError> {
    let download: BundleDownload = read(body, "download")?;
    let mut details = Details::default();
    details.add("url", download.download_url).add("checksum", download.checksum).add("size", size(download.size));
    Ok(details.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;
    use crate::color::unpainted;
    use crate::testing::noon;
    use expect_test::expect;

    pub(crate) fn bundle(status: &str) -> Value {
        let compiled = status == "compiled";
        json!({"id": "019b7d3c-0000-7000-8000-0000000000b1", "project_id": "demo", "version": "1.0.0", "status": status,
            "checksum": compiled.then_some("sha256:00ff"), "size_bytes": compiled.then_some(1536),
            "manifest": compiled.then(|| json!([{"path": "zentinel.kdl", "sha256": "aa", "bytes": 700}])),
            "compiler_output": [], "signed": compiled, "signing_key_id": compiled.then_some("bk_1"),
            "proxy_version": compiled.then_some("0.6.45"), "source_bytes": 700, "source_type": "api",
            "inserted_at": "2026-01-02T11:00:00Z", "updated_at": "2026-01-02T11:00:00Z"})
    }

    #[test]
    fn lists_and_details() {
        let list = json!({"bundles": [bundle("compiled"), bundle("failed")], "total": 2, "next": null});
        expect![[r#"
            ID                                    VERSION  STATUS    SIZE     CREATED
            019b7d3c-0000-7000-8000-0000000000b1  1.0.0    compiled  1.5 KiB  1h ago
            019b7d3c-0000-7000-8000-0000000000b1  1.0.0    failed    -        1h ago
        "#]]
        .assert_eq(&unpainted(&table(&list, noon()).unwrap()));
        expect![[r#"
            id:             019b7d3c-0000-7000-8000-0000000000b1
            version:        1.0.0
            project:        demo
            status:         compiled
            checksum:       sha256:00ff
            size:           1.5 KiB
            source:         700 B
            signing key:    bk_1
            proxy version:  0.6.45
            created:        2026-01-02T11:00:00Z (1h ago)
            file:           zentinel.kdl (700 B, sha256:aa)
        "#]]
        .assert_eq(&unpainted(&details(&bundle("compiled"), noon()).unwrap()));
    }

    #[test]
    fn a_download_is_url_and_checksum() {
        let body = json!({"download_url": "http://x/api/v1/downloads/00ff", "checksum": "sha256:00ff", "size": 1536});
        expect![[r#"
            url:       http://x/api/v1/downloads/00ff
            checksum:  sha256:00ff
            size:      1.5 KiB
        "#]]
        .assert_eq(&unpainted(&download(&body, noon()).unwrap()));
    }
}
