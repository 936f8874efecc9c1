//! Projects on the wire.

use crate::fields::{FieldErrors, Fields};
use domain::Slug;
use domain::project::{Project, Registration};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

const NAME_CHARS_MAX: usize = 100;

/// `POST /api/v1/projects`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CreateProject {
    pub slug: Slug,
    /// Defaults to the slug.
    pub name: Option<String>,
    /// Who may register nodes; `open` is the default and, so far, the only policy.
    pub registration: Option<Registration>,
}

impl CreateProject {
    pub fn parse(body: Value) -> Result<CreateProject, FieldErrors> {
        let mut fields = Fields::new(body);
        let slug = fields.required_parsed("slug");
        let name = fields.text("name", NAME_CHARS_MAX);
        let registration = fields.typed("registration", "is invalid; must be one of: open");
        fields.refuse_rest("known are slug, name, registration");
        let value = slug.map(|slug| CreateProject { slug, name, registration });
        fields.finish(value)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProjectBody {
    pub id: String,
    pub slug: String,
    pub name: String,
    pub org: String,
    pub registration: Registration,
    #[schemars(with = "String")]
    pub inserted_at: Timestamp,
}

impl From<&Project> for ProjectBody {
    fn from(project: &Project) -> ProjectBody {
        ProjectBody {
            id: project.id.to_string(),
            slug: project.slug.to_string(),
            name: project.name.clone(),
            org: project.org.to_string(),
            registration: project.registration,
            inserted_at: project.created_at,
        }
    }
}
