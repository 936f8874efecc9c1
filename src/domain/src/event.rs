//! All facts. Every aggregate declares its own with `events!`, which ties a variant to its name on the wire and its schema
//! version; a new variant breaks every exhaustive match until it is handled.

use crate::{Kind, api_key, bundle, enrollment, join_token, node, org, project, rollout};
use serde_json::value::RawValue;

/// A fact of any aggregate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Org(org::Event),
    Project(project::Event),
    ApiKey(api_key::Event),
    JoinToken(join_token::Event),
    Enrollment(enrollment::Event),
    Node(node::Event),
    Bundle(bundle::Event),
    Rollout(rollout::Event),
}

/// One event as the catalogue tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct Declaration {
    pub kind: Kind,
    /// The last subject token, `registered`.
    pub name: &'static str,
    pub version: u32,
    /// Earlier versions, which are still read: what they lack has a default.
    pub older: &'static [u32],
    /// What it means: Markdown, one line.
    pub doc: &'static str,
    /// JSON Schema of its `data`.
    pub schema: schemars::Schema,
}

impl Event {
    pub fn kind(&self) -> Kind {
        match self {
            Event::Org(_) => Kind::Org,
            Event::Project(_) => Kind::Project,
            Event::ApiKey(_) => Kind::ApiKey,
            Event::JoinToken(_) => Kind::JoinToken,
            Event::Enrollment(_) => Kind::Enrollment,
            Event::Node(_) => Kind::Node,
            Event::Bundle(_) => Kind::Bundle,
            Event::Rollout(_) => Kind::Rollout,
        }
    }

    /// The last subject token, `registered`.
    pub fn name(&self) -> &'static str {
        match self {
            Event::Org(e) => e.name(),
            Event::Project(e) => e.name(),
            Event::ApiKey(e) => e.name(),
            Event::JoinToken(e) => e.name(),
            Event::Enrollment(e) => e.name(),
            Event::Node(e) => e.name(),
            Event::Bundle(e) => e.name(),
            Event::Rollout(e) => e.name(),
        }
    }

    /// `<kind>.<name>`, as it stands in the envelope's `type`.
    pub fn type_name(&self) -> String {
        format!("{}.{}", self.kind().token(), self.name())
    }

    /// Schema version that this build writes.
    pub fn version(&self) -> u32 {
        match self {
            Event::Org(e) => e.version(),
            Event::Project(e) => e.version(),
            Event::ApiKey(e) => e.version(),
            Event::JoinToken(e) => e.version(),
            Event::Enrollment(e) => e.version(),
            Event::Node(e) => e.version(),
            Event::Bundle(e) => e.version(),
            Event::Rollout(e) => e.version(),
        }
    }

    pub(crate) fn data(&self) -> Box<RawValue> {
        match self {
            Event::Org(e) => e.data(),
            Event::Project(e) => e.data(),
            Event::ApiKey(e) => e.data(),
            Event::JoinToken(e) => e.data(),
            Event::Enrollment(e) => e.data(),
            Event::Node(e) => e.data(),
            Event::Bundle(e) => e.data(),
            Event::Rollout(e) => e.data(),
        }
    }

    /// None: an event or version that this build does not know.
    pub(crate) fn read(kind: Kind, name: &str, v: u32, data: &str) -> Result<Option<Event>, serde_json::Error> {
        Ok(match kind {
            Kind::Org => org::Event::read(name, v, data)?.map(Event::Org),
            Kind::Project => project::Event::read(name, v, data)?.map(Event::Project),
            Kind::ApiKey => api_key::Event::read(name, v, data)?.map(Event::ApiKey),
            Kind::JoinToken => join_token::Event::read(name, v, data)?.map(Event::JoinToken),
            Kind::Enrollment => enrollment::Event::read(name, v, data)?.map(Event::Enrollment),
            Kind::Node => node::Event::read(name, v, data)?.map(Event::Node),
            Kind::Bundle => bundle::Event::read(name, v, data)?.map(Event::Bundle),
            Kind::Rollout => rollout::Event::read(name, v, data)?.map(Event::Rollout),
        })
    }

    /// Every event that this build writes, by kind. The catalogue in `docs/events.md` is made of it.
    pub fn catalogue() -> Vec<Declaration> {
        let mut all = Vec::new();
        all.extend(org::Event::catalogue(Kind::Org));
        all.extend(project::Event::catalogue(Kind::Project));
        all.extend(api_key::Event::catalogue(Kind::ApiKey));
        all.extend(join_token::Event::catalogue(Kind::JoinToken));
        all.extend(enrollment::Event::catalogue(Kind::Enrollment));
        all.extend(node::Event::catalogue(Kind::Node));
        all.extend(bundle::Event::catalogue(Kind::Bundle));
        all.extend(rollout::Event::catalogue(Kind::Rollout));
        all
    }
}

/// Declares the facts of one aggregate: `/// what it means` and `Variant(Payload) = "name" v 1`, or `v 2 reads 1` where the payload
/// reads the earlier version too, because what that one lacks has a default. The catalogue needs the meaning, so a
/// variant without one does not compile.
macro_rules! events {
    ($($(#[doc = $doc:literal])+ $variant:ident($payload:ty) = $name:literal v $version:literal $(reads $older:literal)*,)+) => {
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Event {
            $($(#[doc = $doc])+ $variant($payload),)+
        }

        impl Event {
            pub fn name(&self) -> &'static str {
                match self { $(Event::$variant(_) => $name,)+ }
            }

            pub fn version(&self) -> u32 {
                match self { $(Event::$variant(_) => $version,)+ }
            }

            pub(crate) fn data(&self) -> Box<serde_json::value::RawValue> {
                match self { $(Event::$variant(payload) => serde_json::value::to_raw_value(payload),)+ }
                    .expect("payloads are structs with string keys, which always encode")
            }

            pub(crate) fn read(name: &str, v: u32, data: &str) -> Result<Option<Event>, serde_json::Error> {
                Ok(match (name, v) {
                    $(($name, v) if [$version $(, $older)*].contains(&v) => Some(Event::$variant(serde_json::from_str(data)?)),)+
                    _ => None,
                })
            }

            pub(crate) fn catalogue(kind: crate::Kind) -> Vec<crate::event::Declaration> {
                vec![$(crate::event::Declaration {
                    kind,
                    name: $name,
                    version: $version,
                    older: &[$($older),*],
                    doc: concat!($($doc),+).trim_ascii(),
                    schema: schemars::schema_for!($payload),
                },)+]
            }
        }
    };
}
pub(crate) use events;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
