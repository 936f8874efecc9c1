//! What a configuration demands of the file system of the node that runs it.

use crate::problem::Problem;
use crate::source::{Source, child};
use std::path::{Path, PathBuf};
use zentinel_config::{AgentConfig, AgentTransport, Config, RouteConfig};

/// Exists wherever the library looks.
const EVERYWHERE: &str = "/";

/// Answers what the node must have, with the code `node_path`, and replaces those paths by one that exists on every
/// machine, so that what the library says afterwards does not depend on this one.
pub(super) fn detach(config: &mut Config, source: &Source<'_>) -> Vec<Problem> {
    let mut found = Vec::new();
    for route in &mut config.routes {
        detach_root(route, source, &mut found);
    }
    for agent in &mut config.agents {
        detach_socket(agent, source, &mut found);
    }
    for namespace in &mut config.namespaces {
        let services = &mut namespace.services;
        let routes = namespace.routes.iter_mut().chain(services.iter_mut().flat_map(|service| &mut service.routes));
        routes.for_each(|route| detach_root(route, source, &mut found));
    }
    found
}

fn detach_root(route: &mut RouteConfig, source: &Source<'_>, found: &mut Vec<Problem>) {
    let Some(files) = &mut route.static_files else { return };
    let root = std::mem::replace(&mut files.root, PathBuf::from(EVERYWHERE));
    let message =
        format!("the node needs the directory '{}', from which route '{}' serves files", root.display(), route.id);
    found.push(demand(message, source, "route", &route.id, &["static-files", "root"]));
}

fn detach_socket(agent: &mut AgentConfig, source: &Source<'_>, found: &mut Vec<Problem>) {
    let AgentTransport::UnixSocket { path } = &mut agent.transport else { return };
    let path = std::mem::replace(path, PathBuf::from(EVERYWHERE));
    let directory = path.parent().unwrap_or(Path::new(EVERYWHERE)).display();
    let message = format!("the node needs the directory '{directory}', in which agent '{}' has its socket", agent.id);
    found.push(demand(message, source, "agent", &agent.id, &["unix-socket"]));
}

fn demand(message: String, source: &Source<'_>, kind: &str, id: &str, path: &[&str]) -> Problem {
    let node = source.find(kind, id);
    let place = node.map(|node| {
        let innermost = path.iter().try_fold(node, |node, name| child(node, name)).unwrap_or(node);
        source.place(innermost)
    });
    Problem::new("node_path", message).at(place)
}
