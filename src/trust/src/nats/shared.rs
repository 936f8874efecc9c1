//! What crosses between the accounts: exports of FLEET and imports of CLIENTS, made of one table.
//!
//! Invariant: the server replaces the reply subject of what crosses, so no client names a subject of FLEET. An exception of the
//! server is `$JS.ACK.…`, which it passes on, and there it demands that the client may publish on that subject itself.

use super::claims::{Export, Import, ResponseType, ShareKind};

/// What FLEET shows to CLIENTS. Every replica answers a question about services, and one pull brings many facts.
const SHARED: [Shared; 6] = [
    Shared { name: "facts", subject: "fleet.>", local: None, response: None },
    Shared { name: "admin", subject: "pilothouse.admin.v1.>", local: None, response: Some(ResponseType::Singleton) },
    Shared { name: "services", subject: "$SRV.>", local: None, response: Some(ResponseType::Stream) },
    Shared {
        name: "pulls",
        subject: "$JS.API.CONSUMER.MSG.NEXT.FLEET.*",
        local: Some("$JS.fleet.API.CONSUMER.MSG.NEXT.FLEET.$1"),
        response: Some(ResponseType::Stream),
    },
    Shared {
        name: "consumers",
        subject: "$JS.API.CONSUMER.INFO.FLEET.*",
        local: Some("$JS.fleet.API.CONSUMER.INFO.FLEET.$1"),
        response: Some(ResponseType::Singleton),
    },
    Shared { name: "acknowledgements", subject: "$JS.ACK.FLEET.>", local: None, response: Some(ResponseType::Stream) },
];

struct Shared {
    name: &'static str,
    subject: &'static str,
    /// The subject in CLIENTS, where it is another one. The JetStream API has one of its own there, as of a JetStream domain
    /// `fleet`: under its usual subject the server itself answers that CLIENTS has no JetStream.
    local: Option<&'static str>,
    /// None: messages flow from FLEET, and nothing flows back.
    response: Option<ResponseType>,
}

/// The exports of the fleet account and the imports of the clients' account.
pub(super) fn shared(fleet_id: &str) -> (Vec<Export>, Vec<Import>) {
    let share = |shared: &Shared| {
        let (name, subject, response_type) = (shared.name.to_owned(), shared.subject.to_owned(), shared.response);
        let kind = response_type.map_or(ShareKind::Stream, |_| ShareKind::Service);
        let (account, local_subject) = (fleet_id.into(), shared.local.map(str::to_owned));
        let import = Import { name: name.clone(), subject: subject.clone(), account, local_subject, kind };
        (Export { name, subject, kind, response_type }, import)
    };
    SHARED.iter().map(share).unzip()
}
