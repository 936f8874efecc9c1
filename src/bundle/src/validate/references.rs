//! Names that one part of a configuration has for another. Judged here and not by the library, because its answer to each
//! dangling name lists every name that exists.

use super::Findings;
use crate::problem::{PROBLEMS_MAX, Problem};
use crate::source::{Source, child};
use std::collections::{BTreeSet, HashSet};
use zentinel_common::ids::Scope;
use zentinel_config::validation::ValidationContext;
use zentinel_config::{Config, Filter, RouteConfig};

/// How many existing names a message offers.
const OFFERED_MAX: usize = 8;

/// Reports dangling references, and takes them out of `config`, so that the library can judge the rest.
pub(super) fn check(config: &mut Config, source: &Source<'_>, findings: &mut Findings) {
    let context = ValidationContext::from_config(config);
    let mut check = Check { source, findings };
    check.filters(config);
    check.routes(config);
    check.listeners(config);
    for namespace in &mut config.namespaces {
        let scope = Scope::Namespace(namespace.id.clone());
        check.scoped(&mut namespace.routes, &context, &scope);
        for service in &mut namespace.services {
            let scope = Scope::Service { namespace: namespace.id.clone(), service: service.id.clone() };
            check.scoped(&mut service.routes, &context, &scope);
        }
    }
}

struct Check<'c, 's> {
    source: &'c Source<'s>,
    findings: &'c mut Findings,
}

/// Who names what.
#[derive(Clone, Copy)]
struct Reference<'r> {
    owner: &'static str,
    id: &'r str,
    /// The setting that names it; also the kind of thing in the message, less a plural.
    setting: &'static str,
    name: &'r str,
}

impl Check<'_, '_> {
    fn filters(&mut self, config: &mut Config) {
        let agents: HashSet<String> = config.agents.iter().map(|agent| agent.id.clone()).collect();
        let mut filters: Vec<_> = config.filters.iter_mut().collect();
        filters.sort_by(|a, b| a.0.cmp(b.0));
        for (id, filter) in filters {
            let Filter::Agent(settings) = &filter.filter else { continue };
            if !agents.contains(&settings.agent) {
                let reference = Reference { owner: "filter", id, setting: "agent", name: &settings.agent };
                self.dangling(reference, agents.iter());
                filter.filter = Filter::Cors(Default::default());
            }
        }
    }

    fn routes(&mut self, config: &mut Config) {
        let (upstreams, filters) = (&config.upstreams, &config.filters);
        for route in &mut config.routes {
            let shadow = route.shadow.as_ref().map(|shadow| shadow.upstream.as_str());
            if let Some(name) = shadow.filter(|name| !upstreams.contains_key(*name))
                && self.findings.warnings.len() <= PROBLEMS_MAX
            {
                let reference = Reference { owner: "route", id: &route.id, setting: "shadow", name };
                let problem = self.problem(reference, upstreams.keys());
                self.findings.warnings.push(problem);
            }
            if let Some(name) = route.upstream.take_if(|name| !upstreams.contains_key(name)) {
                let reference = Reference { owner: "route", id: &route.id, setting: "upstream", name: &name };
                self.dangling(reference, upstreams.keys());
            }
            let id = &route.id;
            route.filters.retain(|name| {
                let known = filters.contains_key(name);
                if !known {
                    self.dangling(Reference { owner: "route", id, setting: "filters", name }, filters.keys());
                }
                known
            });
        }
    }

    fn listeners(&mut self, config: &mut Config) {
        let routes: HashSet<&str> = config.routes.iter().map(|route| route.id.as_str()).collect();
        let namespaces: HashSet<&str> = config.namespaces.iter().map(|namespace| namespace.id.as_str()).collect();
        for listener in &mut config.listeners {
            if let Some(name) = listener.default_route.take_if(|name| !routes.contains(name.as_str())) {
                let reference =
                    Reference { owner: "listener", id: &listener.id, setting: "default-route", name: &name };
                self.dangling(reference, routes.iter());
            }
            if let Some(name) = listener.namespace.take_if(|name| !namespaces.contains(name.as_str())) {
                let reference = Reference { owner: "listener", id: &listener.id, setting: "namespace", name: &name };
                self.dangling(reference, namespaces.iter());
            }
        }
    }

    /// Routes of a namespace or service, which see the names of what is around them.
    fn scoped(&mut self, routes: &mut [RouteConfig], context: &ValidationContext, scope: &Scope) {
        for route in routes {
            if let Some(name) = route.upstream.take_if(|name| !context.can_resolve_upstream(name, scope)) {
                let reference = Reference { owner: "route", id: &route.id, setting: "upstream", name: &name };
                self.dangling(reference, std::iter::empty::<&str>());
            }
            let id = &route.id;
            route.filters.retain(|name| {
                let known = context.can_resolve_filter(name, scope);
                if !known {
                    let reference = Reference { owner: "route", id, setting: "filters", name };
                    self.dangling(reference, std::iter::empty::<&str>());
                }
                known
            });
        }
    }

    fn dangling<N: AsRef<str>>(&mut self, reference: Reference<'_>, existing: impl Iterator<Item = N>) {
        // More are not shown anyway, and each costs a search for its place.
        if self.findings.errors.len() <= PROBLEMS_MAX {
            let problem = self.problem(reference, existing);
            self.findings.errors.push(problem);
        }
    }

    fn problem<N: AsRef<str>>(&self, reference: Reference<'_>, existing: impl Iterator<Item = N>) -> Problem {
        let Reference { owner, id, setting, name } = reference;
        let kind = match setting {
            "filters" => "filter",
            "default-route" => "route",
            "shadow" => "upstream",
            other => other,
        };
        let message = format!("{owner} '{id}' names the {kind} '{name}', which does not exist");
        let names: BTreeSet<String> = existing.map(|name| name.as_ref().to_owned()).collect();
        let mut offered: Vec<String> = names.iter().take(OFFERED_MAX).map(|name| format!("'{name}'")).collect();
        if names.len() > OFFERED_MAX {
            offered.push("…".to_owned());
        }
        let help = if offered.is_empty() { String::new() } else { format!("there are {}", offered.join(", ")) };
        let node = self.source.find(owner, id);
        let place = node.map(|node| self.source.place(child(node, setting).unwrap_or(node)));
        Problem::new("invalid_reference", message).at(place).help(help)
    }
}
