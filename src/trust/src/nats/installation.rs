//! The NATS identities of a new installation: who they are, what signs them, and the server's configuration.
//!
//! Invariant: whoever is not the control plane itself has its user in the account CLIENTS, which holds no stream. A request
//! names any reply subject, and whoever answers it, the server's own JetStream included, publishes there; between accounts the
//! server puts a subject of its own in its place. Only so no client can aim an answer at `append.>`, at a bucket or at JetStream.
//!
//! Invariant: the operator is strict, so its identity key and those of the accounts sign no user and no account; they can be
//! kept offline. The operator's signing key is what replaces account JWTs, for instance to revoke a user.

use super::NatsError;
use super::claims::{
    AccountClaims, AccountSigningKey, Body, Export, Import, Limits, Mint, OperatorClaims, ResponseType, ShareKind,
    UserClaims, sign,
};
use super::creds::creds;
use super::key::{KeyKind, NatsKey};
use super::roles::{NODE_ROLE, OPERATOR_ROLE, Permissions, node_template, operator_template};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// How often servers compare their account JWTs: how long one that missed a revocation can go on without it.
const RESOLVER_INTERVAL: &str = "5s";
/// What FLEET shows to CLIENTS: a name, the subject, and how. Every replica answers a question about services.
const SHARED: [(&str, &str, ShareKind, Option<ResponseType>); 3] = [
    ("facts", "fleet.>", ShareKind::Stream, None),
    ("admin", "pilothouse.admin.v1.>", ShareKind::Service, Some(ResponseType::Singleton)),
    ("services", "$SRV.>", ShareKind::Service, Some(ResponseType::Stream)),
];

/// What a new installation is made of. The permissions are those of the users of the same names.
pub struct NewInstallation {
    /// Shown in the operator's JWT.
    pub name: String,
    pub now: Timestamp,
    pub runtime: Permissions,
    pub provisioning: Permissions,
    pub monitor: Permissions,
    pub accounts: Permissions,
}

/// A new installation. Holds every secret of it; the caller says where each is kept.
pub struct Installation {
    pub operator_jwt: String,
    pub system_account_id: String,
    pub system_account_jwt: String,
    pub fleet_account_id: String,
    pub fleet_account_jwt: String,
    pub clients_account_id: String,
    pub clients_account_jwt: String,
    /// Seeds by name: the `SEED_` constants.
    pub seeds: BTreeMap<&'static str, String>,
    /// Credentials files by name: the `CREDS_` constants.
    pub creds: BTreeMap<&'static str, String>,
}

/// An account on its way into being.
struct Account {
    identity: NatsKey,
    signing: NatsKey,
}

impl Account {
    fn generate() -> Self {
        Self { identity: NatsKey::generate(KeyKind::Account), signing: NatsKey::generate(KeyKind::Account) }
    }

    fn id(&self) -> String {
        self.identity.public_key()
    }

    /// The credentials of a new user with rights of its own.
    fn user(&self, name: &str, now: Timestamp, permissions: &Permissions) -> String {
        let user = NatsKey::generate(KeyKind::User);
        let id = user.public_key();
        let (publish, subscribe) = (permissions.publish_rule(&id), permissions.subscribe_rule(&id));
        let claims = UserClaims::plain(&self.id(), publish, subscribe);
        creds(&sign(&self.signing, &id, mint(name, now), Body::User(claims)), &user.seed())
    }
}

impl Installation {
    /// The operator's identity. Needed only to change the operator itself: keep it offline.
    pub const SEED_OPERATOR: &str = "operator";
    /// Signs account JWTs.
    pub const SEED_OPERATOR_SIGNING: &str = "operator-signing";
    /// The system account's identity. Signs nothing.
    pub const SEED_SYSTEM: &str = "system";
    /// Signs users of the system account.
    pub const SEED_SYSTEM_SIGNING: &str = "system-signing";
    /// The fleet account's identity. Signs nothing.
    pub const SEED_FLEET: &str = "fleet";
    /// Signs service users of the fleet account, with any rights.
    pub const SEED_FLEET_SIGNING: &str = "fleet-signing";
    /// The clients' account's identity. Signs nothing.
    pub const SEED_CLIENTS: &str = "clients";
    /// Signs operators: what [`operator_user`] takes.
    pub const SEED_CLIENTS_OPERATORS: &str = "clients-operators";
    /// Signs enrolled hosts: what [`super::HostSigner`] takes.
    pub const SEED_CLIENTS_NODES: &str = "clients-nodes";

    /// The run-time user.
    pub const CREDS_SERVICE: &str = "service";
    /// Declares streams and buckets.
    pub const CREDS_PROVISIONING: &str = "provisioning";
    /// A user of the system account.
    pub const CREDS_MONITOR: &str = "monitor";
    /// A user of the system account that replaces account JWTs, and may do nothing else.
    pub const CREDS_ACCOUNTS: &str = "accounts";
    /// The first operator.
    pub const CREDS_ADMIN: &str = "admin";

    pub fn create(request: NewInstallation) -> Installation {
        let now = request.now;
        let (operator, operator_signing) = (NatsKey::generate(KeyKind::Operator), NatsKey::generate(KeyKind::Operator));
        let (system, fleet) = (Account::generate(), Account::generate());
        let (clients, operators) = (NatsKey::generate(KeyKind::Account), NatsKey::generate(KeyKind::Account));
        let nodes = NatsKey::generate(KeyKind::Account);
        let clients_id = clients.public_key();

        let claims = OperatorClaims::new(vec![operator_signing.public_key()], system.id());
        let operator_jwt = sign(&operator, &operator.public_key(), mint(&request.name, now), Body::Operator(claims));
        let claims =
            |jetstream: bool, keys: Vec<AccountSigningKey>| AccountClaims::new(Limits::unlimited(jetstream), keys);
        let mut fleet_claims = claims(true, vec![AccountSigningKey::Plain(fleet.signing.public_key())]);
        let roles = vec![
            AccountSigningKey::scoped(operators.public_key(), OPERATOR_ROLE, operator_template()),
            AccountSigningKey::scoped(nodes.public_key(), NODE_ROLE, node_template()),
        ];
        let mut clients_claims = claims(false, roles);
        (fleet_claims.exports, clients_claims.imports) = shared(&fleet.id());
        let account_jwt = |name: &str, id: &str, claims: AccountClaims| {
            sign(&operator_signing, id, mint(name, now), Body::Account(claims))
        };
        let system_claims = claims(false, vec![AccountSigningKey::Plain(system.signing.public_key())]);
        let (_, admin) = scoped_user(&operators, &clients_id, Self::CREDS_ADMIN, now);
        Installation {
            operator_jwt,
            system_account_id: system.id(),
            system_account_jwt: account_jwt("SYS", &system.id(), system_claims),
            fleet_account_id: fleet.id(),
            fleet_account_jwt: account_jwt("FLEET", &fleet.id(), fleet_claims),
            clients_account_jwt: account_jwt("CLIENTS", &clients_id, clients_claims),
            clients_account_id: clients_id,
            creds: BTreeMap::from([
                (Self::CREDS_SERVICE, fleet.user(Self::CREDS_SERVICE, now, &request.runtime)),
                (Self::CREDS_PROVISIONING, fleet.user(Self::CREDS_PROVISIONING, now, &request.provisioning)),
                (Self::CREDS_MONITOR, system.user(Self::CREDS_MONITOR, now, &request.monitor)),
                (Self::CREDS_ACCOUNTS, system.user(Self::CREDS_ACCOUNTS, now, &request.accounts)),
                (Self::CREDS_ADMIN, admin),
            ]),
            seeds: BTreeMap::from([
                (Self::SEED_OPERATOR, operator.seed()),
                (Self::SEED_OPERATOR_SIGNING, operator_signing.seed()),
                (Self::SEED_SYSTEM, system.identity.seed()),
                (Self::SEED_SYSTEM_SIGNING, system.signing.seed()),
                (Self::SEED_FLEET, fleet.identity.seed()),
                (Self::SEED_FLEET_SIGNING, fleet.signing.seed()),
                (Self::SEED_CLIENTS, clients.seed()),
                (Self::SEED_CLIENTS_OPERATORS, operators.seed()),
                (Self::SEED_CLIENTS_NODES, nodes.seed()),
            ]),
        }
    }

    /// The generated part of a server's configuration: whom it believes. It holds no secret. `resolver_dir` is where the
    /// server keeps account JWTs; those it has there already win over older ones given here, so revocations survive.
    pub fn server_config(&self, resolver_dir: &str) -> String {
        format!(
            "operator: \"{operator}\"\n\
             system_account: {system}\n\
             resolver {{\n  type: full\n  dir: {dir}\n  allow_delete: true\n  interval: \"{RESOLVER_INTERVAL}\"\n}}\n\
             resolver_preload {{\n  {system}: \"{system_jwt}\"\n  {fleet}: \"{fleet_jwt}\"\n  \
             {clients}: \"{clients_jwt}\"\n}}\n",
            operator = self.operator_jwt,
            system = self.system_account_id,
            dir = quoted(resolver_dir),
            system_jwt = self.system_account_jwt,
            fleet = self.fleet_account_id,
            fleet_jwt = self.fleet_account_jwt,
            clients = self.clients_account_id,
            clients_jwt = self.clients_account_jwt,
        )
    }
}

/// A further operator: its public key (the actor of everything it does) and its credentials file. `signing_seed` is
/// [`Installation::SEED_CLIENTS_OPERATORS`], `account_id` the clients' account's.
pub fn operator_user(
    signing_seed: &str,
    account_id: &str,
    name: &str,
    now: Timestamp,
) -> Result<(String, String), NatsError> {
    let operators = NatsKey::from_seed(KeyKind::Account, signing_seed)?;
    Ok(scoped_user(&operators, account_id, name, now))
}

/// The exports of the fleet account and the imports of the clients' account.
fn shared(fleet_id: &str) -> (Vec<Export>, Vec<Import>) {
    let share = |(name, subject, kind, response_type): (&str, &str, ShareKind, Option<ResponseType>)| {
        let (name, subject) = (name.to_owned(), subject.to_owned());
        let import = Import { name: name.clone(), subject: subject.clone(), account: fleet_id.into(), kind };
        (Export { name, subject, kind, response_type }, import)
    };
    SHARED.into_iter().map(share).unzip()
}

fn scoped_user(role: &NatsKey, account_id: &str, name: &str, now: Timestamp) -> (String, String) {
    let user = NatsKey::generate(KeyKind::User);
    let id = user.public_key();
    let jwt = sign(role, &id, mint(name, now), Body::User(UserClaims::scoped(account_id)));
    (id, creds(&jwt, &user.seed()))
}

fn mint(name: &str, now: Timestamp) -> Mint<'_> {
    Mint { name, issued_at: now.as_second(), expires_at: None }
}

/// A string of the server's configuration language.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for char in text.chars() {
        match char {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::claims::{SubjectRule, decode, verify};
    use super::super::creds::parse_creds;
    use super::*;

    fn installation() -> Installation {
        let only_inbox = || Permissions { subscribe: vec!["{inbox}.>".into()], ..Permissions::default() };
        Installation::create(NewInstallation {
            name: "test".into(),
            now: Timestamp::from_second(1_800_000_000).unwrap(),
            runtime: only_inbox(),
            provisioning: only_inbox(),
            monitor: only_inbox(),
            accounts: only_inbox(),
        })
    }

    fn public_of(installation: &Installation, kind: KeyKind, name: &str) -> String {
        NatsKey::from_seed(kind, &installation.seeds[name]).unwrap().public_key()
    }

    #[test]
    fn signing_keys_sign_and_identities_do_not() {
        let made = installation();
        let operator = public_of(&made, KeyKind::Operator, Installation::SEED_OPERATOR);
        let operator_signing = public_of(&made, KeyKind::Operator, Installation::SEED_OPERATOR_SIGNING);
        let own = verify(&made.operator_jwt, &[&operator]).unwrap();
        assert_eq!(own.sub, operator);
        let expected = OperatorClaims::new(vec![operator_signing.clone()], made.system_account_id.clone());
        assert_eq!(own.nats, Body::Operator(expected));
        for (jwt, id, seed) in [
            (&made.system_account_jwt, &made.system_account_id, Installation::SEED_SYSTEM),
            (&made.fleet_account_jwt, &made.fleet_account_id, Installation::SEED_FLEET),
            (&made.clients_account_jwt, &made.clients_account_id, Installation::SEED_CLIENTS),
        ] {
            assert_eq!(verify(jwt, &[&operator_signing]).unwrap().sub, *id);
            assert_eq!(public_of(&made, KeyKind::Account, seed), *id);
        }
        for (name, seed) in [
            (Installation::CREDS_SERVICE, Installation::SEED_FLEET_SIGNING),
            (Installation::CREDS_PROVISIONING, Installation::SEED_FLEET_SIGNING),
            (Installation::CREDS_MONITOR, Installation::SEED_SYSTEM_SIGNING),
            (Installation::CREDS_ADMIN, Installation::SEED_CLIENTS_OPERATORS),
        ] {
            let read = parse_creds(&made.creds[name]).unwrap();
            let claims = verify(&read.jwt, &[&public_of(&made, KeyKind::Account, seed)]).unwrap();
            assert_eq!((claims.name.as_str(), claims.iat), (name, 1_800_000_000));
        }
    }

    #[test]
    fn each_user_has_an_inbox_of_its_own() {
        let made = installation();
        for name in [Installation::CREDS_SERVICE, Installation::CREDS_PROVISIONING, Installation::CREDS_MONITOR] {
            let read = parse_creds(&made.creds[name]).unwrap();
            let Body::User(claims) = decode(&read.jwt).unwrap().nats else { panic!("not a user") };
            assert_eq!(claims.subscribe.allow, [format!("_INBOX_{}.>", read.public_key)]);
            assert_eq!(claims.publish, SubjectRule { allow: vec![], deny: vec![">".into()] });
        }
    }

    #[test]
    fn an_operators_jwt_carries_no_rights() {
        let made = installation();
        let seed = &made.seeds[Installation::SEED_CLIENTS_OPERATORS];
        let (id, text) = operator_user(seed, &made.clients_account_id, "eve", Timestamp::UNIX_EPOCH).unwrap();
        let read = parse_creds(&text).unwrap();
        assert_eq!(read.public_key, id);
        let claims = decode(&read.jwt).unwrap();
        assert_eq!((claims.name.as_str(), claims.iat), ("eve", 0));
        assert_eq!(claims.nats, Body::User(UserClaims::scoped(&made.clients_account_id)));
        let wrong = operator_user(&made.seeds[Installation::SEED_OPERATOR], "A1", "eve", Timestamp::UNIX_EPOCH);
        assert_eq!(wrong, Err(NatsError::Seed));
    }

    #[test]
    fn the_servers_configuration_holds_no_secret() {
        let made = installation();
        let config = made.server_config("/var/lib/\"a\\b");
        assert!(config.contains(r#"dir: "/var/lib/\"a\\b""#), "{config}");
        assert!(made.seeds.values().all(|seed| !config.contains(seed)));
        let users = made.creds.values().map(|text| parse_creds(text).unwrap());
        assert!(users.into_iter().all(|user| !config.contains(&user.seed)));
    }
}
