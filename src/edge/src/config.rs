//! Settings of the edge. The operator binary fills them from its settings file.

use std::path::PathBuf;
use std::time::Duration;

/// What the router needs to know.
#[derive(Clone, Debug)]
pub struct EdgeConfig {
    /// Scheme and authority of the links in answers, such as `https://control.example`. Empty: as the client reached us.
    pub public_url: String,
    /// The largest body of a route without a limit of its own, in bytes.
    pub request_bytes_max: usize,
    /// How long a body may take to arrive, and how long the answer may take after that.
    pub request_timeout: Duration,
    pub limits: LimitsConfig,
}

impl Default for EdgeConfig {
    fn default() -> EdgeConfig {
        EdgeConfig {
            public_url: String::new(),
            request_bytes_max: 1_572_864,
            request_timeout: Duration::from_secs(30),
            limits: LimitsConfig::default(),
        }
    }
}

/// Token buckets: requests per second in the long run, and how many may come at once. A rate of 0 switches a class off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Per node.
    pub node_per_s: u32,
    pub node_burst: u32,
    /// Per API key, and per address for those who did not prove who they are.
    pub api_per_s: u32,
    pub api_burst: u32,
    /// Per address.
    pub registration_per_s: u32,
    pub registration_burst: u32,
    /// Enrollment, per address and minute.
    pub enrollment_per_min: u32,
    pub enrollment_burst: u32,
    /// Enrollment of those who show a join token, per token and second.
    pub enrollment_token_per_s: u32,
    pub enrollment_token_burst: u32,
}

impl Default for LimitsConfig {
    fn default() -> LimitsConfig {
        LimitsConfig {
            node_per_s: 20,
            node_burst: 60,
            api_per_s: 100,
            api_burst: 300,
            registration_per_s: 20,
            registration_burst: 200,
            enrollment_per_min: 6,
            enrollment_burst: 10,
            enrollment_token_per_s: 100,
            enrollment_token_burst: 1_000,
        }
    }
}

/// Certificate chain and private key, PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub private_key: PathBuf,
}

/// What the listeners need to know. Port 0 lets the system choose.
#[derive(Clone, Debug)]
pub struct ListenConfig {
    /// Address and port of plain HTTP; empty: off.
    pub http: String,
    /// Address and port of HTTPS; empty: off.
    pub https: String,
    /// Needed when `https` is on.
    pub tls: Option<TlsFiles>,
    /// Open connections of both listeners together. Those beyond wait in the system's backlog.
    pub connections_max: u32,
    /// How long a request's head, or a TLS handshake, may take.
    pub header_timeout: Duration,
    /// How long a connection may be kept open without a request.
    pub idle_timeout: Duration,
    /// How long a client may leave an answer unread.
    pub write_timeout: Duration,
    /// How long requests in progress may take when the process stops.
    pub shutdown_timeout: Duration,
}

impl Default for ListenConfig {
    fn default() -> ListenConfig {
        ListenConfig {
            http: "127.0.0.1:4000".to_owned(),
            https: String::new(),
            tls: None,
            connections_max: 20_000,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(180),
            write_timeout: Duration::from_secs(30),
            shutdown_timeout: Duration::from_secs(10),
        }
    }
}
