//! `pilothouse dev`: everything on this machine, in one directory. It uses what a real installation uses (operator-mode NATS,
//! TLS, sealed keys); only the number of servers and the registration policy of project `demo` differ.

use crate::init::InstallationFiles;
use crate::logging;
use crate::replica::{DEFAULT_ORG, Replica, asked_to_stop};
use anyhow::{Context, Result, bail};
use contract::{Operation, Request};
use control::{Bootstrap, Caller, Control, Grants};
use domain::{Actor, Slug};
use runtime::{DataDir, Launcher, NatsBinary, NatsConfig, NatsProcess, Settings, files};
use serde::Serialize;
use serde_json::json;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

const PROJECT: &str = "demo";

#[derive(clap::Args)]
pub struct Arguments {
    /// Keeps all state, over restarts
    #[arg(long, default_value = ".pilothouse")]
    data_dir: PathBuf,
    /// HTTP listener; port 0 takes any free one
    #[arg(long, default_value = "127.0.0.1:4000")]
    http: SocketAddr,
    /// HTTPS listener
    #[arg(long, default_value = "127.0.0.1:8443")]
    https: SocketAddr,
    /// Port of the private nats-server on 127.0.0.1; 0 takes any free one
    #[arg(long, default_value_t = 4222)]
    nats_port: u16,
    /// Settings file, as for `serve`; addresses and credentials are dev mode's own
    #[arg(long)]
    config: Option<PathBuf>,
}

/// `dev.json`: what scripts and the CLI need to know.
#[derive(Serialize)]
struct DevFile {
    http_url: String,
    https_url: String,
    ca_cert: PathBuf,
    nats_url: String,
    operator_creds: PathBuf,
    api_key: String,
    org: &'static str,
    project: &'static str,
}

pub fn run(arguments: Arguments) -> Result<()> {
    let settings = Settings::load(arguments.config.as_deref(), std::env::vars())?;
    logging::start(&settings.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("could not start the asynchronous runtime")?.block_on(dev(arguments, settings))
}

async fn dev(arguments: Arguments, mut settings: Settings) -> Result<()> {
    let data_dir = DataDir::open(&arguments.data_dir)?;
    let root = data_dir.path().to_owned();
    let hosts = ["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let (installation, _) = InstallationFiles::ensure(&root.join("installation"), &hosts, &root.join("jwt"))?;
    installation.renew_certificate(&hosts)?;
    let config = NatsConfig {
        port: arguments.nats_port,
        include: Some(installation.nats_config()),
        ..NatsConfig::new(NatsBinary::find().await?, Launcher::this_binary("nats-child"))
    };
    let nats = NatsProcess::start(&data_dir, config).await?;
    let nats_url = format!("nats://{}", nats.wait_ready().await?);
    fill_in(&mut settings, &arguments, &installation, &nats_url);
    let replica = Replica::start(&settings).await?;
    let (http, https) = (replica.http, replica.https.context("dev mode always serves HTTPS")?);
    let dev_file = root.join("dev.json");
    let project: Slug = PROJECT.parse().context("the first project's slug")?;
    let ready = async |control: &Control| {
        let contents = DevFile {
            http_url: format!("http://{http}"),
            https_url: format!("https://{https}"),
            ca_cert: installation.ca_certificate(),
            nats_url: nats_url.clone(),
            operator_creds: installation.creds("admin"),
            api_key: api_key(control, &root.join("api_key")).await?,
            org: DEFAULT_ORG,
            project: PROJECT,
        };
        files::write_secret(&dev_file, &serde_json::to_vec_pretty(&contents)?)?;
        welcome(&contents, &dev_file);
        Ok(())
    };
    let result = replica.run(Bootstrap { project: Some(project) }, ready, asked_to_stop()).await;
    nats.stop().await;
    result
}

fn fill_in(settings: &mut Settings, arguments: &Arguments, installation: &InstallationFiles, nats_url: &str) {
    settings.http.listen = arguments.http;
    settings.https.listen = Some(arguments.https);
    settings.https.certificate = Some(installation.certificate());
    settings.https.private_key = Some(installation.private_key());
    settings.nats.servers = vec![nats_url.to_owned()];
    settings.nats.runtime_creds = Some(installation.creds("service"));
    settings.nats.provisioning_creds = Some(installation.creds("provisioning"));
    settings.nats.monitor_creds = Some(installation.creds("monitor"));
    settings.nats.accounts_creds = Some(installation.creds("accounts"));
    settings.keys.master_key = Some(installation.master_key());
    settings.keys.clients_account = Some(installation.clients_account());
    settings.keys.node_signing_key = Some(installation.seed("clients-nodes"));
    settings.keys.operator_signing_key = Some(installation.seed("operator-signing"));
    settings.storage.replicas = 1;
}

/// The API key of this directory: the one in the file while it works, else a new one with full access.
async fn api_key(control: &Control, file: &Path) -> Result<String> {
    if file.exists() {
        let key = String::from_utf8(files::read_secret(file)?).context("the API key's file is not text")?;
        if control.authenticate_api_key(&key).await.is_ok() {
            return Ok(key);
        }
    }
    let caller =
        Caller { actor: Actor::System, org: control.default_org().clone(), project: None, grants: Grants::Everything };
    let request = Request { body: json!({"name": "dev"}), ..Request::default() };
    let answer = control.perform(&caller, Operation::ApiKeyCreate, request, "").await;
    let Some(key) = answer.body.get("key").and_then(|key| key.as_str()) else {
        bail!("no API key could be made: {}", answer.body);
    };
    files::write_secret(file, key.as_bytes())?;
    Ok(key.to_owned())
}

/// What to try next. Not a log line: people read it.
fn welcome(dev: &DevFile, dev_file: &Path) {
    let (http, project) = (&dev.http_url, dev.project);
    println!("Pilothouse is ready.\n");
    println!("  HTTP    {http}");
    println!("  HTTPS   {}  (CA: {})", dev.https_url, dev.ca_cert.display());
    println!("  NATS    {}", dev.nats_url);
    println!("  all of it, with an API key: {}\n", dev_file.display());
    println!("Project {project:?} lets whoever knows its name register a node: good on this machine, nowhere else.\n");
    println!("Try next, in another terminal:");
    println!("  pilothouse-agent run --server-url {http} --project {project} --name proxy-1 --data-dir proxy-1");
    println!("  pilothouse bundle create v1 --file zentinel.kdl");
    println!("  pilothouse rollout create --bundle v1 --watch");
}
