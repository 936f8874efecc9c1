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
    /// Who may register nodes; absent: the replica's default, `token` in production.
    pub registration: Option<Registration>,
}

impl CreateProject {
    pub fn parse(body: Value) -> Result<CreateProject, FieldErrors> {
        let mut fields = Fields::new(body);
        let slug = fields.required_parsed("slug");
        let name = fields.text("name", NAME_CHARS_MAX);
        let registration = registration(&mut fields);
        fields.refuse_rest("known are slug, name, registration");
        let value = slug.map(|slug| CreateProject { slug, name, registration });
        fields.finish(value)
    }
}

/// `PATCH /api/v1/projects/{slug}`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UpdateProject {
    /// Who may register nodes from now on.
    pub registration: Registration,
}

impl UpdateProject {
    pub fn parse(body: Value) -> Result<UpdateProject, FieldErrors> {
        let mut fields = Fields::new(body);
        if !fields.has("registration") {
            fields.error("registration", "can't be blank");
        }
        let registration = registration(&mut fields);
        fields.refuse_rest("known is registration");
        fields.finish(registration.map(|registration| UpdateProject { registration }))
    }
}

fn registration(fields: &mut Fields) -> Option<Registration> {
    let known = Registration::ALL.map(Registration::as_str);
    Registration::parse(&fields.one_of("registration", &known)?)
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
