//! One replica, from connecting to stopping: what `dev` and `serve` share.

use anyhow::{Context, Result, bail};
use control::{AutoApproval, Bootstrap, Control, ControlSettings, DurabilityContract, EnrollmentSettings, Parts};
use domain::Slug;
use domain::enrollment::Renewal;
use domain::project::Registration;
use edge::{Edge, EdgeConfig, LimitsConfig, ListenConfig, Listeners, TlsFiles};
use journal::durability::Sync;
use journal::{Durability, JetStream, ProvisionError, Role};
use runtime::settings::{self, ExpectedSync, Nats, Profile};
use runtime::{Settings, files};
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use trust::MasterKey;
use trust::nats::{AccountSigner, HostSigner};
use views::Views;

/// The org of those who come without one.
pub const DEFAULT_ORG: &str = "default";
/// How long a server that is not up yet is waited for.
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);

/// A replica that is bound and connected, but does not serve yet.
pub struct Replica {
    pub control: Control,
    pub http: SocketAddr,
    pub https: Option<SocketAddr>,
    listeners: Listeners,
    edge: Edge,
    client: async_nats::Client,
    /// Who hears of logins, and which account's.
    logins: Option<(async_nats::Client, String)>,
    /// Who tells the servers of revocations.
    accounts: Option<(async_nats::Client, AccountSigner)>,
}

impl Replica {
    /// Binds first, so that a port in use is told before anything is changed; then provisions and connects.
    pub async fn start(settings: &Settings) -> Result<Replica> {
        let listeners = Listeners::bind(&listen_config(settings)?).await?;
        let (http, https) =
            (listeners.http_address().context("http.listen gives no address")?, listeners.https_address());
        let nats = &settings.nats;
        let client = connect(nats, &nats.runtime_creds, Role::Runtime).await?;
        provision(settings, &client).await?;
        let master_key = settings.keys.master_key.as_ref().context("keys.master_key must name a file")?;
        let master_key = files::read_secret(master_key).context("keys.master_key cannot be used")?;
        let master_key = MasterKey::from_text(std::str::from_utf8(&master_key).context("the master key is not text")?)?;
        let store = Arc::new(JetStream::new(client.clone()));
        let monitor = monitor(settings).await?;
        let durability = durability(settings, monitor.as_ref(), &store).await?;
        let host_signer = host_signer(settings)?;
        let account_id = host_signer.as_ref().map(|signer| signer.account_id().to_owned());
        let accounts = account_signer(settings).await?;
        let views = Views::load(store.as_ref()).await?;
        let control = Control::new(Parts {
            writer: store.clone(),
            reader: store.clone(),
            records: store.clone(),
            blobs: store.clone(),
            pulse: store.clone(),
            telemetry: store.clone(),
            snapshots: store,
            views,
            master_key,
            host_signer,
            default_org: DEFAULT_ORG.parse::<Slug>().context("the default org's slug")?,
            durability,
            settings: control_settings(settings, http)?,
        });
        let edge = Edge::new(control.clone(), edge_config(settings));
        let logins = monitor.zip(account_id);
        Ok(Replica { control, http, https, listeners, edge, client, logins, accounts })
    }

    /// Serves until `stop` ends, then stops cleanly. `ready` runs once the replica is caught up and the first facts are there.
    pub async fn run<F>(self, bootstrap: Bootstrap, ready: F, stop: impl Future<Output = ()>) -> Result<()>
    where
        F: AsyncFnOnce(&Control) -> Result<()>,
    {
        let control = self.control.clone();
        let work = async {
            let error = control.run().await;
            Err(anyhow::Error::new(error).context("this replica cannot go on"))
        };
        let serve = async {
            control.bootstrap(&bootstrap).await?;
            let (closing, closed) = tokio::sync::oneshot::channel::<()>();
            let edge = edge::serve(self.edge, self.listeners, async {
                // Either way the edge is to close.
                let _ = closed.await;
            });
            let admin = control::admin::serve(control.clone(), self.client.clone());
            // Both go on for as long as this block does.
            let mut beside = tokio::task::JoinSet::new();
            if let Some((client, account_id)) = self.logins {
                beside.spawn(control::logins::run(control.clone(), client, account_id));
            }
            match self.accounts {
                Some((client, signer)) => beside.spawn(control::accounts::run(control.clone(), client, signer)),
                None => beside.spawn(control::accounts::look_on(control.clone())),
            };
            tokio::pin!(edge);
            let ended = tokio::select! {
                () = &mut edge => bail!("the HTTP edge ended"),
                served = admin => served.context("the admin service ended"),
                done = ready_then(&control, ready, stop) => done,
            };
            drop(closing);
            edge.await;
            ended
        };
        let result = tokio::select! {
            result = work => result,
            result = serve => result,
        };
        if result.is_ok() {
            self.control.save_snapshot().await;
        }
        result
    }
}

async fn ready_then<F>(control: &Control, ready: F, stop: impl Future<Output = ()>) -> Result<()>
where
    F: AsyncFnOnce(&Control) -> Result<()>,
{
    ready(control).await?;
    stop.await;
    Ok(())
}

/// SIGINT or SIGTERM.
pub async fn asked_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        tracing::error!("signals cannot be received; stop with SIGKILL");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

async fn connect(nats: &Nats, creds: &Option<PathBuf>, role: Role) -> Result<async_nats::Client> {
    let setting = format!("nats.{}_creds", role.name());
    let creds = creds.as_ref().with_context(|| format!("{setting} must name a credentials file"))?;
    let text = files::read_secret(creds).with_context(|| format!("{setting} cannot be used"))?;
    let text = String::from_utf8(text).with_context(|| format!("{} is not text", creds.display()))?;
    Ok(journal::connect(&nats.servers, Some(&text), role, CONNECT_PATIENCE).await?)
}

/// Creates what is missing with the provisioning user. A replica that was given none only compares.
async fn provision(settings: &Settings, client: &async_nats::Client) -> Result<()> {
    let (nats, replicas) = (&settings.nats, settings.storage.replicas);
    if nats.provisioning_creds.is_some() {
        let provisioner = connect(nats, &nats.provisioning_creds, Role::Provisioning).await?;
        return Ok(journal::provision(&provisioner, replicas).await?);
    }
    let differences = journal::diff(client, replicas).await?;
    if differences.is_empty() { Ok(()) } else { Err(ProvisionError::Drift(differences).into()) }
}

/// Reads what an answered mutation survives. The production profile refuses to run on less than it was told to expect, and
/// without knowing; the dev profile says so and goes on.
async fn durability(
    settings: &Settings,
    monitor: Option<&async_nats::Client>,
    journal: &JetStream,
) -> Result<Option<DurabilityContract>> {
    let strict = settings.storage.profile == Profile::Production;
    let complain = |complaint: String| {
        if strict {
            bail!("{complaint}, which the production profile refuses");
        }
        tracing::warn!("{complaint}");
        Ok(())
    };
    let Some(monitor) = monitor else {
        complain("nats.monitor_creds is empty, so it is not known what an answered mutation survives".to_owned())?;
        return Ok(None);
    };
    let found = Durability::read(monitor, journal).await?;
    let expected = &settings.storage;
    if expected.expected_sync == ExpectedSync::Always && found.sync != Sync::Always {
        let sync = found.sync;
        complain(format!("nats-server syncs its writes {sync}, but storage.expected_sync is \"always\""))?;
    }
    if found.replicas < expected.expected_replicas {
        let (has, wants) = (found.replicas, expected.expected_replicas);
        complain(format!("the journal has {has} replica(s), but storage.expected_replicas is {wants}"))?;
    }
    Ok(Some(DurabilityContract {
        replicas: u32::try_from(found.replicas).unwrap_or(u32::MAX),
        sync_interval: found.sync.to_string(),
        contract: found.to_string(),
    }))
}

async fn monitor(settings: &Settings) -> Result<Option<async_nats::Client>> {
    match &settings.nats.monitor_creds {
        Some(_) => Ok(Some(connect(&settings.nats, &settings.nats.monitor_creds, Role::Monitor).await?)),
        None => Ok(None),
    }
}

/// What signs hosts' credentials, where this replica does.
fn host_signer(settings: &Settings) -> Result<Option<HostSigner>> {
    let keys = &settings.keys;
    let Some((seed, account)) = keys.node_signing_key.as_ref().zip(keys.clients_account.as_ref()) else {
        return Ok(None);
    };
    let seed = read_text(seed).context("keys.node_signing_key cannot be used")?;
    let account = std::fs::read_to_string(account).context("keys.clients_account cannot be read")?;
    let signer = HostSigner::new(&seed, &account);
    Ok(Some(signer.context("keys.node_signing_key is not the key of hosts in the account of keys.clients_account")?))
}

/// What tells the servers of revocations, where this replica does.
async fn account_signer(settings: &Settings) -> Result<Option<(async_nats::Client, AccountSigner)>> {
    let keys = &settings.keys;
    let Some((seed, account)) = keys.operator_signing_key.as_ref().zip(keys.clients_account.as_ref()) else {
        return Ok(None);
    };
    let seed = read_text(seed).context("keys.operator_signing_key cannot be used")?;
    let account = std::fs::read_to_string(account).context("keys.clients_account cannot be read")?;
    let signer = AccountSigner::new(&seed, &account);
    let signer = signer.context("keys.operator_signing_key has not signed the account of keys.clients_account")?;
    Ok(Some((connect(&settings.nats, &settings.nats.accounts_creds, Role::Accounts).await?, signer)))
}

fn read_text(path: &std::path::Path) -> Result<String> {
    String::from_utf8(files::read_secret(path)?).context("it is not text")
}

fn listen_config(settings: &Settings) -> Result<ListenConfig> {
    let (https, limits) = (&settings.https, &settings.limits);
    let tls = match (&https.listen, &https.certificate, &https.private_key) {
        (None, _, _) => None,
        (Some(_), Some(certificate), Some(private_key)) => {
            Some(TlsFiles { certificate: certificate.clone(), private_key: private_key.clone() })
        }
        (Some(_), _, _) => {
            bail!("https.listen needs https.certificate and https.private_key; set it to \"\" to switch HTTPS off")
        }
    };
    Ok(ListenConfig {
        http: settings.http.listen.to_string(),
        https: https.listen.map(|address| address.to_string()).unwrap_or_default(),
        tls,
        connections_max: u32::try_from(limits.connections_max).unwrap_or(u32::MAX),
        header_timeout: Duration::from_secs(u64::from(limits.header_timeout_s)),
        ..ListenConfig::default()
    })
}

fn edge_config(settings: &Settings) -> EdgeConfig {
    let limits = &settings.limits;
    EdgeConfig {
        public_url: settings.http.public_url.clone(),
        request_bytes_max: limits.request_bytes_max,
        request_timeout: Duration::from_secs(u64::from(limits.request_timeout_s)),
        limits: LimitsConfig {
            node_per_s: limits.node_per_s,
            node_burst: limits.node_burst,
            api_per_s: limits.api_per_s,
            api_burst: limits.api_burst,
            registration_per_s: limits.registration_per_s,
            registration_burst: limits.registration_burst,
            enrollment_per_min: limits.enrollment_per_min,
            enrollment_burst: limits.enrollment_burst,
            enrollment_token_per_s: limits.enrollment_token_per_s,
            enrollment_token_burst: limits.enrollment_token_burst,
        },
    }
}

fn enrollment_settings(settings: &Settings) -> Result<EnrollmentSettings> {
    let enrollment = &settings.enrollment;
    let rule = |text: &String| {
        AutoApproval::parse(text).map_err(|e| anyhow::anyhow!("enrollment.auto_approve: the rule {text:?} {e}"))
    };
    Ok(EnrollmentSettings {
        lifetime_s: enrollment.credentials_ttl_s,
        renewal: match enrollment.renewal {
            settings::Renewal::Renew => Renewal::Renew,
            settings::Renewal::Manual => Renewal::Manual,
            settings::Renewal::Never => Renewal::Never,
        },
        pending_s: enrollment.pending_s,
        pending_max: enrollment.pending_max,
        pending_per_site_max: enrollment.pending_per_address_max,
        auto_approve: enrollment.auto_approve.iter().map(rule).collect::<Result<_>>()?,
        streams_max: settings.limits.enrollment_streams_max,
        ..EnrollmentSettings::default()
    })
}

fn control_settings(settings: &Settings, http: SocketAddr) -> Result<ControlSettings> {
    let (nodes, bundles) = (&settings.nodes, &settings.bundles);
    let configured = settings.http.public_url.trim_end_matches('/');
    let public_url = if configured.is_empty() { format!("http://{http}") } else { configured.to_owned() };
    Ok(ControlSettings {
        poll_interval_s: nodes.poll_interval_s,
        heartbeat_interval_s: nodes.heartbeat_interval_s,
        offline_after_s: nodes.offline_after_s,
        token_ttl_s: nodes.token_ttl_s,
        source_bytes_max: bundles.source_bytes_max,
        download_url_ttl_s: bundles.download_url_ttl_s,
        assignment_ttl_s: bundles.assignment_ttl_s,
        compile_concurrency: bundles.compile_concurrency,
        rollout_paused_max_s: settings.rollouts.paused_max_s,
        rollout_pending_max_s: settings.rollouts.pending_max_s,
        pulse_linger_ms: settings.pulse.linger_ms,
        pulse_batch_beats_max: settings.pulse.batch_beats_max,
        snapshot_every_facts: settings.storage.snapshot_every_facts,
        default_registration: match settings.storage.profile {
            Profile::Dev => Registration::Open,
            Profile::Production => Registration::Token,
        },
        // The other half is for heartbeats and operators.
        waiting_max: settings.limits.waiting_max.min(settings.limits.connections_max / 2),
        streams_max: settings.limits.streams_max,
        streams_per_key_max: settings.limits.streams_per_key_max,
        public_url,
        enrollment: enrollment_settings(settings)?,
        ..ControlSettings::default()
    })
}
