//! Hosts that listen for the state of their enrollment. A listener is a place in a map: it costs no consumer of the stream, and
//! one task follows the facts for all.
//!
//! Invariant: a listener has its place before it looks, and whoever changes an enrollment tells the place afterwards.

use super::EnrollmentSettings;
use crate::control::Control;
use contract::{ApiError, EnrollStatus, ErrorCode};
use domain::enrollment::State;
use domain::{Aggregate, EnrollmentId, Recorded};
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::Instant;

/// What comes next on a stream.
#[derive(Debug, PartialEq, Eq)]
pub enum EnrollmentNews {
    State(EnrollStatus),
    /// Nothing to tell for a while.
    Quiet,
    /// The stream has lasted long enough.
    Timeout,
}

#[derive(Default)]
pub(crate) struct Watches(Mutex<Places>);

#[derive(Default)]
struct Places {
    by_id: HashMap<EnrollmentId, (watch::Sender<u64>, usize)>,
    by_site: HashMap<IpAddr, usize>,
    all: usize,
    closed: bool,
}

/// One listener. Dropping it gives its place up.
pub struct EnrollmentWatch {
    control: Control,
    id: EnrollmentId,
    /// None: it showed a join token, which stands for many hosts behind one address.
    site: Option<IpAddr>,
    news: watch::Receiver<u64>,
    told: Option<State>,
    quiet_at: Instant,
    end: Instant,
    ended: bool,
}

impl Watches {
    fn places(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// None: there is no room, or the replica stops.
    fn enter(
        &self,
        id: &EnrollmentId,
        site: Option<IpAddr>,
        settings: &EnrollmentSettings,
    ) -> Option<watch::Receiver<u64>> {
        let mut places = self.places();
        let of_id = places.by_id.get(id).map_or(0, |(_, count)| *count);
        let of_site = site.and_then(|site| places.by_site.get(&site).copied()).unwrap_or(0);
        let is_full = places.all >= settings.streams_max
            || of_id >= settings.streams_per_enrollment_max
            || of_site >= settings.streams_per_site_max;
        if is_full || places.closed {
            return None;
        }
        places.all += 1;
        if let Some(site) = site {
            *places.by_site.entry(site).or_default() += 1;
        }
        let (sender, count) = places.by_id.entry(id.clone()).or_insert_with(|| (watch::Sender::new(0), 0));
        *count += 1;
        Some(sender.subscribe())
    }

    fn leave(&self, id: &EnrollmentId, site: Option<IpAddr>) {
        let mut places = self.places();
        places.all = places.all.saturating_sub(1);
        if let Some((_, count)) = places.by_id.get_mut(id) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                places.by_id.remove(id);
            }
        }
        if let Some(site) = site {
            decrease(&mut places.by_site, &site);
        }
    }

    fn tell(&self, id: &EnrollmentId) {
        if let Some((sender, _)) = self.places().by_id.get(id) {
            sender.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    fn tell_all(&self) {
        for (sender, _) in self.places().by_id.values() {
            sender.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// Ends all streams and lets none begin.
    pub fn close(&self) {
        self.places().closed = true;
        self.tell_all();
    }

    pub fn len(&self) -> usize {
        self.places().all
    }
}

fn decrease<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

impl Control {
    /// `GET /api/v1/enroll/{id}/stream`
    pub async fn watch_enrollment(
        &self,
        id: &str,
        peer: IpAddr,
        has_join_token: bool,
    ) -> Result<EnrollmentWatch, ApiError> {
        let id = self.with_enrollment(id, |_, enrollment| enrollment.id.clone()).await?;
        let settings = &self.settings().enrollment;
        let site = (!has_join_token).then(|| peer.to_canonical());
        let full = || ApiError::new(ErrorCode::RateLimited, "rate limit exceeded");
        let news = self.watches().enter(&id, site, settings).ok_or_else(full)?;
        let now = Instant::now();
        Ok(EnrollmentWatch {
            control: self.clone(),
            id,
            site,
            news,
            told: None,
            quiet_at: now + settings.stream_quiet,
            end: now + settings.stream_time_max,
            ended: false,
        })
    }

    /// Hosts that listen for the state of their enrollment.
    pub fn enrollment_streams(&self) -> usize {
        self.watches().len()
    }
}

impl EnrollmentWatch {
    /// The state at first, and each that differs from the last; none after the one that needs no waiting.
    pub async fn next(&mut self) -> Option<EnrollmentNews> {
        loop {
            if self.ended || self.control.watches().places().closed {
                return None;
            }
            self.news.borrow_and_update();
            let state = self
                .control
                .views()
                .read()
                .enrollments
                .get(&self.id)
                .map(|(host, enrollment)| (enrollment.shown_state(), EnrollStatus::of(&host.id, enrollment)));
            let (state, status) = state?;
            if self.told != Some(state) {
                self.told = Some(state);
                self.ended = state != State::Pending;
                self.rest();
                return Some(EnrollmentNews::State(status));
            }
            tokio::select! {
                changed = self.news.changed() => changed.ok()?,
                () = tokio::time::sleep_until(self.end) => {
                    self.ended = true;
                    return Some(EnrollmentNews::Timeout);
                }
                () = tokio::time::sleep_until(self.quiet_at) => {
                    self.rest();
                    return Some(EnrollmentNews::Quiet);
                }
            }
        }
    }

    fn rest(&mut self) {
        self.quiet_at = Instant::now() + self.control.settings().enrollment.stream_quiet;
    }
}

impl Drop for EnrollmentWatch {
    fn drop(&mut self) {
        self.control.watches().leave(&self.id, self.site);
    }
}

/// Tells the listeners of what the facts change, for as long as the replica runs.
pub(crate) async fn follow(control: Control) {
    let mut facts = control.views().listen();
    loop {
        match facts.recv().await {
            Ok(fact) => tell(&control, &fact),
            Err(RecvError::Lagged(_)) => control.watches().tell_all(),
            Err(RecvError::Closed) => return std::future::pending().await,
        }
    }
}

fn tell(control: &Control, fact: &Arc<Recorded>) {
    let Aggregate::Enrollment { host, .. } = &fact.aggregate else { return };
    let state = control.views().read();
    for enrollment in state.enrollments.host(host).into_iter().flat_map(|host| &host.enrollments) {
        control.watches().tell(&enrollment.id);
    }
}
