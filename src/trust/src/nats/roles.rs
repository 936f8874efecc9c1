//! What the users of an installation may do on NATS.
//!
//! Invariant: an empty list is nothing. NATS itself reads an absent list as everything; here the translation writes the
//! denial. Nobody may publish on `fleet.>`: only the server does.

use super::claims::{SubjectRule, UserTemplate};

/// In a subject of [`Permissions`]: the inbox prefix of the user that they are minted for.
const INBOX: &str = "{inbox}";
/// Subscriptions of one operator's connection: its inbox, the fleet's facts, and room for watching.
const OPERATOR_SUBSCRIPTIONS_MAX: i64 = 64;
const OPERATOR_PAYLOAD_BYTES_MAX: i64 = 1024 * 1024;
pub(super) const OPERATOR_ROLE: &str = "operator";
pub(super) const NODE_ROLE: &str = "node";
const NODE_SUBSCRIPTIONS_MAX: i64 = 16;
const NODE_PAYLOAD_BYTES_MAX: i64 = 1024 * 1024;

/// The rights of one user. `{inbox}` in a subject stands for [`inbox_prefix`] of that user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    pub publish: Vec<String>,
    pub subscribe: Vec<String>,
}

impl Permissions {
    pub(super) fn publish_rule(&self, user: &str) -> SubjectRule {
        rule(&self.publish, user)
    }

    pub(super) fn subscribe_rule(&self, user: &str) -> SubjectRule {
        rule(&self.subscribe, user)
    }
}

/// The prefix of the inboxes that a user asks its answers to: `_INBOX_<public key>`, without a dot at the end. Only that user
/// may subscribe under it.
pub fn inbox_prefix(public_key: &str) -> String {
    format!("_INBOX_{public_key}")
}

/// The role of an enrolled host: asks and is told under its own id, which is its user's name. No JetStream, and nothing of
/// another host's.
pub fn node_template() -> UserTemplate {
    let own = "pilothouse.node.v1.{{name()}}.>".to_owned();
    let inbox = "_INBOX_{{subject()}}.>".to_owned();
    UserTemplate {
        publish: SubjectRule { allow: vec![own.clone()], deny: vec![] },
        subscribe: SubjectRule { allow: vec![inbox, own], deny: vec![] },
        subs: NODE_SUBSCRIPTIONS_MAX,
        data: -1,
        payload: NODE_PAYLOAD_BYTES_MAX,
    }
}

/// The role of an operator: asks under its own name, reads the fleet's facts, finds services.
pub fn operator_template() -> UserTemplate {
    let publish = [
        "pilothouse.admin.v1.{{subject()}}.>",
        "$SRV.PING",
        "$SRV.PING.>",
        "$SRV.INFO",
        "$SRV.INFO.>",
        "$SRV.STATS",
        "$SRV.STATS.>",
    ];
    let subscribe = ["_INBOX_{{subject()}}.>", "fleet.>"];
    let allow = |subjects: &[&str]| SubjectRule { allow: subjects.iter().map(|&s| s.into()).collect(), deny: vec![] };
    UserTemplate {
        publish: allow(&publish),
        subscribe: allow(&subscribe),
        subs: OPERATOR_SUBSCRIPTIONS_MAX,
        data: -1,
        payload: OPERATOR_PAYLOAD_BYTES_MAX,
    }
}

fn rule(subjects: &[String], user: &str) -> SubjectRule {
    if subjects.is_empty() {
        return SubjectRule { allow: vec![], deny: vec![">".into()] };
    }
    let inbox = inbox_prefix(user);
    SubjectRule { allow: subjects.iter().map(|subject| subject.replace(INBOX, &inbox)).collect(), deny: vec![] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inbox_is_the_users_own() {
        let permissions = Permissions { subscribe: vec!["{inbox}.>".into(), "a.b".into()], ..Permissions::default() };
        assert_eq!(permissions.subscribe_rule("U1").allow, ["_INBOX_U1.>", "a.b"]);
    }

    #[test]
    fn an_empty_list_is_nothing() {
        let rule = Permissions::default().publish_rule("U1");
        assert_eq!(rule, SubjectRule { allow: vec![], deny: vec![">".into()] });
    }
}
