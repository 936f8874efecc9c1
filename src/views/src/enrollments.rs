//! Hosts and their enrollments, with the indexes that decisions look at: who waits, from where, and which keys are taken.

use domain::enrollment::{Enrollment, Event, Host, Revocation, State};
use domain::{Actor, EnrollmentId, HostId, NodeId, Position, Slug};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};

#[derive(Debug, Default, PartialEq)]
pub struct Enrollments {
    hosts: BTreeMap<HostId, Host>,
    by_id: BTreeMap<EnrollmentId, HostId>,
    /// Keys of live enrollments. One key may be live under two ids for a moment, when two replicas let it in at once.
    live_keys: HashMap<String, BTreeSet<HostId>>,
    blocked_keys: HashMap<String, BTreeSet<HostId>>,
    /// Nodes whose hosts an operator revoked.
    refused_nodes: BTreeSet<NodeId>,
    /// Who waits, oldest first.
    pending: BTreeSet<(Timestamp, HostId)>,
    /// How many wait without having shown a join token, by site.
    pending_from: HashMap<String, usize>,
}

impl Enrollments {
    pub fn host(&self, id: &HostId) -> Option<&Host> {
        self.hosts.get(id)
    }

    pub fn get(&self, id: &EnrollmentId) -> Option<(&Host, &Enrollment)> {
        let host = self.hosts.get(self.by_id.get(id)?)?;
        Some((host, host.get(id)?))
    }

    /// Oldest first: ids begin with the time.
    pub fn after<'a>(
        &'a self,
        after: Option<&EnrollmentId>,
    ) -> impl Iterator<Item = (&'a Host, &'a Enrollment)> + use<'a> {
        let from = after.map_or(std::ops::Bound::Unbounded, |id| std::ops::Bound::Excluded(id.clone()));
        let ids = self.by_id.range((from, std::ops::Bound::Unbounded));
        ids.filter_map(|(id, host)| {
            let host = self.hosts.get(host)?;
            Some((host, host.get(id)?))
        })
    }

    /// Who waits for a decision, oldest first.
    pub fn pending(&self) -> impl Iterator<Item = &Host> {
        self.pending.iter().filter_map(|(_, id)| self.hosts.get(id))
    }

    pub fn pending_count(&self) -> usize {
        self.pending.len()
    }

    /// How many wait that came from the same site without a join token.
    pub fn pending_from(&self, address: IpAddr) -> usize {
        self.pending_from.get(&site(address)).copied().unwrap_or(0)
    }

    /// The host whose credentials the key holds.
    pub fn host_of_key(&self, public_key: &str) -> Option<&Host> {
        self.hosts.get(self.live_keys.get(public_key)?.first()?)
    }

    /// The key is live under another id.
    pub fn is_live_elsewhere(&self, public_key: &str, id: &HostId) -> bool {
        self.live_keys.get(public_key).is_some_and(|hosts| hosts.iter().any(|host| host != id))
    }

    /// An operator revoked the key.
    pub fn is_blocked(&self, public_key: &str) -> bool {
        self.blocked_keys.contains_key(public_key)
    }

    /// An operator revoked the host that the node is.
    pub fn refuses_node(&self, id: NodeId) -> bool {
        self.refused_nodes.contains(&id)
    }

    /// What the account's JWT must say at this time: by key, until when its JWTs count no more.
    pub fn revocations(&self, now: Timestamp) -> BTreeMap<String, i64> {
        let mut all = BTreeMap::new();
        for Revocation { public_key, until_s, expires_at_s } in self.hosts.values().flat_map(|host| &host.revocations) {
            if *expires_at_s > now.as_second() {
                let until = all.entry(public_key.clone()).or_insert(*until_s);
                *until = (*until).max(*until_s);
            }
        }
        all
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = &Host> {
        self.hosts.values()
    }

    pub(crate) fn apply(
        &mut self,
        (org, id): (&Slug, &HostId),
        event: &Event,
        actor: &Actor,
        time: Timestamp,
        position: Position,
    ) {
        match (self.remove(id), event) {
            (Some(mut host), event) => {
                host.evolve(org, event, actor, time, position);
                self.insert(host);
            }
            (None, Event::Submitted(fact)) => {
                self.insert(Host::submitted((org.clone(), id.clone()), fact, time, position));
            }
            // Nothing else is a host's first fact.
            (None, _) => {}
        }
    }

    /// Takes a host out of all indexes.
    fn remove(&mut self, id: &HostId) -> Option<Host> {
        let host = self.hosts.remove(id)?;
        for enrollment in &host.enrollments {
            self.by_id.remove(&enrollment.id);
        }
        let current = host.current();
        forget(&mut self.live_keys, &current.public_key, id);
        for key in &host.blocked {
            forget(&mut self.blocked_keys, key, id);
        }
        for node in &host.nodes {
            self.refused_nodes.remove(&node.id);
        }
        self.pending.remove(&(current.created_at, id.clone()));
        if let Some(site) = waiting_site(current)
            && let Some(count) = self.pending_from.get_mut(&site)
        {
            *count -= 1;
            if *count == 0 {
                self.pending_from.remove(&site);
            }
        }
        Some(host)
    }

    pub(crate) fn insert(&mut self, host: Host) {
        let (id, current) = (host.id.clone(), host.current());
        for enrollment in &host.enrollments {
            self.by_id.insert(enrollment.id.clone(), id.clone());
        }
        if current.state.is_live() {
            self.live_keys.entry(current.public_key.clone()).or_default().insert(id.clone());
        }
        for key in &host.blocked {
            self.blocked_keys.entry(key.clone()).or_default().insert(id.clone());
        }
        let refused = host.nodes.iter().filter(|node| node.refused);
        self.refused_nodes.extend(refused.map(|node| node.id));
        if current.state == State::Pending {
            self.pending.insert((current.created_at, id.clone()));
        }
        if let Some(site) = waiting_site(current) {
            *self.pending_from.entry(site).or_default() += 1;
        }
        self.hosts.insert(id, host);
    }
}

fn forget(index: &mut HashMap<String, BTreeSet<HostId>>, key: &str, id: &HostId) {
    if let Some(hosts) = index.get_mut(key) {
        hosts.remove(id);
        if hosts.is_empty() {
            index.remove(key);
        }
    }
}

fn waiting_site(enrollment: &Enrollment) -> Option<String> {
    let counts = enrollment.state == State::Pending && enrollment.join_token.is_none();
    counts.then(|| enrollment.remote_addr.parse().map_or_else(|_| enrollment.remote_addr.clone(), site))
}

/// An address; of IPv6 the first 64 bits, which one site can vary freely below.
fn site(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).to_string(),
    }
}
