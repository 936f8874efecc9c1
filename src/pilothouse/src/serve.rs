//! `pilothouse serve`: one replica against an existing NATS.

use crate::logging;
use crate::replica::{Replica, asked_to_stop};
use anyhow::{Context, Result};
use control::Bootstrap;
use runtime::Settings;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Arguments {
    /// Settings file; what it leaves out has the documented default. Environment: PILOTHOUSE_<SECTION>_<KEY>
    #[arg(long)]
    config: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let settings = Settings::load(arguments.config.as_deref(), std::env::vars())?;
    logging::start(&settings.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("could not start the asynchronous runtime")?.block_on(async {
        let replica = Replica::start(&settings).await?;
        tracing::info!(http = %replica.http, https = ?replica.https, "serving");
        replica.run(Bootstrap { project: None }, async |_| Ok(()), asked_to_stop()).await
    })
}
