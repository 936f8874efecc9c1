//! Which statuses a route gives, from its access, its limiter and its method.

use super::{Access, Limiter, Route};

impl Route {
    /// Every status that a client may see.
    pub fn statuses(&self) -> Vec<u16> {
        let mut all = vec![self.success, 400, 503];
        all.extend(self.also);
        match self.access {
            Access::Public => {}
            Access::SignedUrl => all.push(403),
            Access::JoinToken
            | Access::Node
            | Access::NodeKey
            | Access::Challenge
            | Access::HostKey
            | Access::Scope(_)
            | Access::ApiKey
            | Access::FullAccess => all.extend([401, 403]),
        }
        if self.path.contains('{') {
            all.push(404);
        }
        if self.is_mutation() {
            all.extend([408, 413, 415, 422]);
        }
        if self.limiter != Limiter::None {
            all.push(429);
        }
        all.sort_unstable();
        all.dedup();
        all
    }
}
