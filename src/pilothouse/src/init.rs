//! A new installation: NATS operator, accounts and users, the TLS CA with a server certificate, and the master key that seals
//! what the orgs' keys sign with. Made in one step: everything is written beside and appears with one rename, or not at all.

use anyhow::{Context, Result, bail};
use jiff::{SignedDuration, Timestamp};
use runtime::files;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use trust::nats::{Installation, NewInstallation};
use trust::tls::{Ca, certificate_expiry};

/// The generated part of nats-server's configuration. Written last: where it is, everything is.
const COMPLETE: &str = "installation.conf";
/// The JWT of the account of hosts and operators, as it was made. It holds no secret.
const CLIENTS_ACCOUNT: &str = "clients.jwt";
const SERVER_CERTIFICATE_DAYS: u32 = 397;
/// A certificate that ends sooner is replaced when Pilothouse starts it itself.
const RENEW_BEFORE: SignedDuration = SignedDuration::from_hours(30 * 24);

#[derive(clap::Args)]
pub struct Arguments {
    /// Where the installation's files go. One that is there already is left as it is
    #[arg(long, default_value = "installation")]
    dir: PathBuf,
    /// DNS names and addresses of the HTTPS listener
    #[arg(long = "host", default_values_t = ["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()])]
    hosts: Vec<String>,
    /// Where nats-server keeps the account JWTs, as written into its configuration; default: `jwt` beside the files
    #[arg(long)]
    resolver_dir: Option<PathBuf>,
}

/// What was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    Nothing,
    Installation,
}

/// Where the files of an installation are.
pub struct InstallationFiles(PathBuf);

impl InstallationFiles {
    /// Creates the installation unless it is there. `resolver_dir` is the path that nats-server sees.
    pub fn ensure(dir: &Path, hosts: &[String], resolver_dir: &Path) -> Result<(InstallationFiles, Found)> {
        let files = InstallationFiles(dir.to_owned());
        let empty = !dir.exists() || dir.read_dir().is_ok_and(|mut entries| entries.next().is_none());
        if empty {
            create(dir, hosts, resolver_dir)?;
        }
        for needed in [files.nats_config(), files.ca_certificate(), files.master_key()] {
            if !needed.is_file() {
                bail!(
                    "{} is missing: restore it from a backup; an installation is never made over an old one",
                    needed.display()
                );
            }
        }
        Ok((files, if empty { Found::Nothing } else { Found::Installation }))
    }

    pub fn nats_config(&self) -> PathBuf {
        self.0.join(COMPLETE)
    }

    pub fn creds(&self, user: &str) -> PathBuf {
        self.0.join(format!("{user}.creds"))
    }

    pub fn master_key(&self) -> PathBuf {
        self.0.join("master.key")
    }

    pub fn clients_account(&self) -> PathBuf {
        self.0.join(CLIENTS_ACCOUNT)
    }

    /// The seed of a signing key.
    pub fn seed(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.nk"))
    }

    pub fn ca_certificate(&self) -> PathBuf {
        self.0.join("ca.pem")
    }

    pub fn certificate(&self) -> PathBuf {
        self.0.join("server.pem")
    }

    pub fn private_key(&self) -> PathBuf {
        self.0.join("server.key")
    }

    /// Issues a new server certificate when the old one ends soon.
    pub fn renew_certificate(&self, hosts: &[String]) -> Result<()> {
        let path = self.certificate();
        let pem = fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?;
        let expiry = certificate_expiry(&pem).with_context(|| format!("{} is not a certificate", path.display()))?;
        if expiry.duration_since(Timestamp::now()) > RENEW_BEFORE {
            return Ok(());
        }
        let key = files::read_secret(&self.0.join("ca.key"))?;
        let certificate = fs::read_to_string(self.ca_certificate())?;
        let ca = Ca::from_pem(&certificate, std::str::from_utf8(&key).context("ca.key is not PEM")?)?;
        write_certificate(&self.0, &ca, hosts)
    }
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let dir = std::path::absolute(&arguments.dir)?;
    let resolver_dir = arguments.resolver_dir.clone().unwrap_or_else(|| dir.join("jwt"));
    let (files, found) = InstallationFiles::ensure(&dir, &arguments.hosts, &resolver_dir)?;
    if found == Found::Installation {
        println!("{} holds an installation already; nothing was changed", dir.display());
        return Ok(());
    }
    println!("Created an installation in {}", dir.display());
    println!("  {}  include it in nats-server.conf", files.nats_config().display());
    println!("  {}  the first operator's credential", files.creds("admin").display());
    println!("  {}  what clients of the HTTPS listener trust", files.ca_certificate().display());
    println!("Keep {} offline: it is the root of all NATS trust.", dir.join("operator.nk").display());
    Ok(())
}

/// Writes everything beside its place, then moves it there: the whole directory at once, or, where the directory is given
/// (a mounted volume), file by file with the one last that says that all are there.
fn create(dir: &Path, hosts: &[String], resolver_dir: &Path) -> Result<()> {
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).context("the directory has no parent")?;
    fs::create_dir_all(parent).with_context(|| format!("could not create {}", parent.display()))?;
    let name = dir.file_name().context("the directory has no name")?.to_string_lossy();
    let given = dir.is_dir();
    let beside = if given { dir.join(".new") } else { parent.join(format!(".{name}.new")) };
    // A leftover of an attempt that was interrupted: nothing in it was ever used.
    if beside.exists() {
        fs::remove_dir_all(&beside).with_context(|| format!("could not remove {}", beside.display()))?;
    }
    files::ensure_private_dir(&beside)?;
    write_all(&beside, hosts, resolver_dir)?;
    if given {
        move_into(&beside, dir)?;
        return sync(dir);
    }
    fs::rename(&beside, dir).with_context(|| format!("could not create {}", dir.display()))?;
    sync(parent)
}

fn move_into(from: &Path, dir: &Path) -> Result<()> {
    let mut names: Vec<_> =
        fs::read_dir(from)?.collect::<Result<Vec<_>, _>>()?.into_iter().map(|e| e.file_name()).collect();
    names.sort_by_key(|name| name == COMPLETE);
    for name in names {
        fs::rename(from.join(&name), dir.join(&name))
            .with_context(|| format!("could not write into {}", dir.display()))?;
    }
    Ok(fs::remove_dir(from)?)
}

fn sync(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|opened| opened.sync_all()).with_context(|| format!("could not sync {}", dir.display()))
}

fn write_all(dir: &Path, hosts: &[String], resolver_dir: &Path) -> Result<()> {
    let installation = Installation::create(NewInstallation {
        name: "pilothouse".to_owned(),
        now: Timestamp::now(),
        runtime: permissions(journal::permissions::runtime()),
        provisioning: permissions(journal::permissions::provisioning()),
        monitor: permissions(journal::permissions::monitor()),
        accounts: permissions(journal::permissions::accounts()),
    });
    for (name, seed) in &installation.seeds {
        files::write_secret(&dir.join(format!("{name}.nk")), seed.as_bytes())?;
    }
    for (name, creds) in &installation.creds {
        files::write_secret(&dir.join(format!("{name}.creds")), creds.as_bytes())?;
    }
    files::write_public(&dir.join(CLIENTS_ACCOUNT), installation.clients_account_jwt.as_bytes())?;
    let resolver = resolver_dir.to_str().context("the resolver directory must be UTF-8")?;
    files::write_public(&dir.join(COMPLETE), installation.server_config(resolver).as_bytes())?;
    files::write_secret(&dir.join("master.key"), trust::MasterKey::generate().to_text().as_bytes())?;
    let ca = Ca::create("Pilothouse CA", Timestamp::now())?;
    files::write_public(&dir.join("ca.pem"), ca.cert_pem().as_bytes())?;
    files::write_secret(&dir.join("ca.key"), ca.key_pem().as_bytes())?;
    write_certificate(dir, &ca, hosts)
}

fn write_certificate(dir: &Path, ca: &Ca, hosts: &[String]) -> Result<()> {
    let issued = ca.issue_server(hosts, Timestamp::now(), SERVER_CERTIFICATE_DAYS)?;
    files::write_secret(&dir.join("server.key"), issued.key_pem.as_bytes())?;
    // The whole chain, so that an agent that knows nothing but the CA's fingerprint can check it.
    let chain = issued.cert_pem + ca.cert_pem();
    Ok(files::write_public(&dir.join("server.pem"), chain.as_bytes())?)
}

fn permissions(of: journal::permissions::Permissions) -> trust::nats::Permissions {
    trust::nats::Permissions { publish: of.publish, subscribe: of.subscribe }
}
