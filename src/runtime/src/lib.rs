//! What the operator binary needs around the control plane: settings, files that are private and written atomically, and a
//! supervised private nats-server.
//!
//! Absent on purpose: the domain, the journal and HTTP. Nothing here knows what Pilothouse does.
//! Linux only: the supervision relies on parent-death signals, pidfds and `/proc`.

mod data_dir;
pub mod files;
pub mod nats_process;
pub mod settings;

pub use data_dir::{DataDir, DataDirError};
pub use files::FileError;
pub use nats_process::conf::NATS_SERVER_CONF;
pub use nats_process::{Launcher, NatsBinary, NatsConfig, NatsError, NatsProcess, SyncInterval, exec_bound_to_parent};
pub use settings::{Settings, SettingsError};
