//! Rules that approve hosts without an operator: `id=web-* cidr=10.0.0.0/8 join_token=<id> project=demo label=env=prod`. All
//! conditions of a rule must hold. A host that an operator revoked once is never let in by a rule.

use domain::enrollment::Host;
use domain::{HostId, JoinTokenId, Labels, Slug};
use std::collections::BTreeMap;
use std::net::IpAddr;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AutoApproval {
    /// As it stands in the settings.
    pub text: String,
    /// `*` stands for any characters.
    id: String,
    network: Option<Network>,
    join_token: Option<JoinTokenId>,
    pub project: Option<Slug>,
    pub labels: Labels,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    bits: u32,
}

impl AutoApproval {
    /// The error completes "the rule …".
    pub fn parse(text: &str) -> Result<AutoApproval, String> {
        let (mut id, mut network, mut join_token, mut project) = (None, None, None, None);
        let mut labels = BTreeMap::new();
        for word in text.split_whitespace() {
            let (name, value) = word.split_once('=').ok_or_else(|| format!("has {word:?}, which is not name=value"))?;
            let wrong = |what: &str| format!("has {value:?}, which is not {what}");
            match name {
                "id" => id = Some(value.to_owned()),
                "cidr" => network = Some(Network::parse(value).ok_or_else(|| wrong("a network such as 10.0.0.0/8"))?),
                "join_token" => join_token = Some(value.parse().map_err(|_| wrong("the id of a join token"))?),
                "project" => project = Some(value.parse().map_err(|_| wrong("the slug of a project"))?),
                "label" => {
                    let (key, value) = value.split_once('=').ok_or_else(|| wrong("a label such as env=prod"))?;
                    labels.insert(key.to_owned(), value.to_owned());
                }
                _ => return Err(format!("has {name:?}; known are id, cidr, join_token, project, label")),
            }
        }
        let id = id.filter(|id| !id.is_empty()).ok_or("has no id=")?;
        if network.is_none() && join_token.is_none() {
            return Err("needs cidr= or join_token= beside id=: anybody can choose an id".to_owned());
        }
        if project.is_none() && !labels.is_empty() {
            return Err("has labels, which are a node's, and no project=".to_owned());
        }
        let labels = Labels::try_from(labels).map_err(|e| format!("has labels that cannot be used: {e}"))?;
        Ok(AutoApproval { text: text.to_owned(), id, network, join_token, project, labels })
    }

    /// Whether the host's newest enrollment is one that the rule lets in.
    pub(crate) fn admits(&self, host: &Host) -> bool {
        let enrollment = host.current();
        let from = || enrollment.remote_addr.parse().ok();
        host.blocked.is_empty()
            && matches(&self.id, &host.id)
            && self.network.is_none_or(|network| from().is_some_and(|address| network.holds(address)))
            && self.join_token.is_none_or(|token| enrollment.join_token == Some(token))
    }
}

/// Without recursion: after a mismatch the last `*` takes one character more.
fn matches(pattern: &str, id: &HostId) -> bool {
    let (pattern, text) = (pattern.as_bytes(), id.as_str().as_bytes());
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if pattern.get(p) == text.get(t) {
            (p, t) = (p + 1, t + 1);
        } else if let Some((at, taken)) = star {
            star = Some((at, taken + 1));
            (p, t) = (at + 1, taken + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

impl Network {
    fn parse(text: &str) -> Option<Network> {
        let (address, bits) = text.split_once('/')?;
        let (address, bits): (IpAddr, u32) = (address.parse().ok()?, bits.parse().ok()?);
        (bits <= width(address)).then_some(Network { address, bits })
    }

    fn holds(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        if width(address) != width(self.address) {
            return false;
        }
        // No bits at all: a shift by the whole width is none.
        let differing = (bits(address) ^ bits(self.address)).checked_shr(width(address) - self.bits);
        differing.unwrap_or(0) == 0
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_ids() {
        let id = |text: &str| text.parse::<HostId>().unwrap();
        for (pattern, text, expected) in [
            ("*", "a", true),
            ("web-*", "web-01", true),
            ("web-*", "web-", true),
            ("web-*", "aweb-01", false),
            ("*-01", "web-01", true),
            ("*-01", "web-01-02", false),
            ("w*b*1", "web-01", true),
            ("w*b*2", "web-01", false),
            ("web-01", "web-01", true),
            ("web-01", "web-011", false),
            ("", "a", false),
            ("*a*a*a*a*b", &"a".repeat(128), false),
        ] {
            assert_eq!(matches(pattern, &id(text)), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn networks_hold_their_addresses() {
        for (network, address, expected) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("0.0.0.0/0", "::1", false),
            ("192.0.2.1/32", "192.0.2.1", true),
            ("192.0.2.1/32", "192.0.2.0", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("::/0", "2001:db8:1::1", true),
            ("::1/128", "::1", true),
        ] {
            assert_eq!(
                Network::parse(network).unwrap().holds(address.parse().unwrap()),
                expected,
                "{network} {address}"
            );
        }
        for wrong in ["10.0.0.0", "10.0.0.0/33", "x/8", "10.0.0.0/-1", "/8"] {
            assert_eq!(Network::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_rule_says_more_than_an_id() {
        let rule = AutoApproval::parse("id=web-* cidr=10.0.0.0/8 project=demo label=env=prod").unwrap();
        assert_eq!((rule.project, rule.labels.as_map()["env"].as_str()), (Some("demo".parse().unwrap()), "prod"));
        for wrong in [
            "",
            "id=*",
            "cidr=10.0.0.0/8",
            "id= cidr=10.0.0.0/8",
            "id=a cidr=x",
            "id=a join_token=x",
            "id=a cidr=10.0.0.0/8 label=env=prod",
            "id=a cidr=10.0.0.0/8 force=yes",
            "web-*",
        ] {
            assert!(AutoApproval::parse(wrong).is_err(), "{wrong}");
        }
    }
}
