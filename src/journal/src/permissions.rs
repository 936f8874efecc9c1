//! What each connection of this crate may do, as subject permissions of its NATS user.
//!
//! Invariant: the user that runs day to day can add facts and read them, and that is all. It has no call that creates, changes,
//! purges or deletes a stream or a message (a consumer is neither), and nobody at all may publish on `fleet.>`.

use crate::declaration::{Declaration, FLEET};

/// Who connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A replica of the control plane.
    Runtime,
    /// Creates streams and buckets at start.
    Provisioning,
    /// Reads the server's settings and hears who logs in; a user of the system account.
    Monitor,
    /// Replaces the JWTs of accounts, and nothing else; a user of the system account.
    Accounts,
}

/// The permissions of one user. Everything that is not listed is denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    pub publish: Vec<String>,
    pub subscribe: Vec<String>,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Role::Runtime => "runtime",
            Role::Provisioning => "provisioning",
            Role::Monitor => "monitor",
            Role::Accounts => "accounts",
        }
    }

    /// First tokens of the subjects on which answers arrive. A prefix of its own keeps one user out of another's answers.
    pub fn inbox_prefix(self) -> String {
        format!("_INBOX.{}", self.name())
    }

    pub fn permissions(self) -> Permissions {
        match self {
            Role::Runtime => runtime(),
            Role::Provisioning => provisioning(),
            Role::Monitor => monitor(),
            Role::Accounts => accounts(),
        }
    }

    fn inbox(self) -> String {
        format!("{}.>", self.inbox_prefix())
    }
}

/// A replica: appends, records, blobs, pulse, telemetry; reads all of it; serves operators' requests.
pub fn runtime() -> Permissions {
    let mut publish = Vec::new();
    for declaration in Declaration::all() {
        let stream = declaration.stream();
        publish.extend(declaration.subjects());
        publish.push(format!("$JS.API.STREAM.INFO.{stream}"));
        publish.push(format!("$JS.API.STREAM.MSG.GET.{stream}"));
        publish.push(format!("$JS.API.CONSUMER.CREATE.{stream}.*"));
        if declaration.is_direct() {
            publish.push(format!("$JS.API.DIRECT.GET.{stream}"));
            publish.push(format!("$JS.API.DIRECT.GET.{stream}.>"));
        }
    }
    // Places of subscribers: a consumer holds no fact, so removing one loses none.
    publish.extend([format!("$JS.API.CONSUMER.LIST.{FLEET}"), format!("$JS.API.CONSUMER.DELETE.{FLEET}.*")]);
    // Answers to the server's flow control, and to operators: those are in another account, and the server gives each request
    // from there a reply subject of this form. There is no right to answer on whatever subject a request names.
    publish.extend(["$JS.FC.>".to_owned(), "_R_.>".to_owned()]);
    let subscribe = vec![Role::Runtime.inbox(), "pilothouse.admin.v1.>".to_owned(), "$SRV.>".to_owned()];
    Permissions { publish, subscribe }
}

/// Creates what is missing and looks at what is there. It cannot change or remove a stream either: drift is a person's to mend.
pub fn provisioning() -> Permissions {
    let publish = Declaration::all()
        .iter()
        .flat_map(|declaration| {
            let stream = declaration.stream();
            [format!("$JS.API.STREAM.CREATE.{stream}"), format!("$JS.API.STREAM.INFO.{stream}")]
        })
        .collect();
    Permissions { publish, subscribe: vec![Role::Provisioning.inbox()] }
}

/// Asks for the JWTs of accounts and gives the servers newer ones. A server believes those alone that the operator's signing key
/// signed.
pub fn accounts() -> Permissions {
    let publish = ["$SYS.REQ.CLAIMS.UPDATE", "$SYS.REQ.ACCOUNT.*.CLAIMS.LOOKUP"].map(str::to_owned).to_vec();
    Permissions { publish, subscribe: vec![Role::Accounts.inbox()] }
}

/// Reads how the servers keep data, and hears of each login.
pub fn monitor() -> Permissions {
    let publish = ["JSZ", "VARZ"].map(|what| format!("$SYS.REQ.SERVER.PING.{what}")).to_vec();
    Permissions { publish, subscribe: vec![Role::Monitor.inbox(), "$SYS.ACCOUNT.*.CONNECT".to_owned()] }
}
