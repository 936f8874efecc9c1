//! `project create|list|update`

use super::Call;
use crate::execute::{Decision, Fact, unix_ms};
use contract::{Answer, ApiError, CreateProject, ProjectBody, UpdateProject};
use domain::project::{Created, Event, change_registration};
use domain::{Aggregate, Position, ProjectId};
use serde_json::{Value, json};
use views::State;

impl Call<'_> {
    pub(super) async fn create_project(&self) -> Result<Answer, ApiError> {
        let wanted = CreateProject::parse(self.request.body.clone())?;
        let org = self.caller.org.clone();
        let id = ProjectId::from_parts(unix_ms(), trust::random_bytes());
        let aggregate = Aggregate::Project { org, project: wanted.slug.clone() };
        let created = Created {
            id,
            name: wanted.name.unwrap_or_else(|| wanted.slug.to_string()),
            registration: wanted.registration.unwrap_or(self.control.settings().default_registration),
        };
        let decide = |state: &State| {
            if state.orgs.project(&wanted.slug).is_some() {
                return Err(ApiError::field("slug", "has already been taken"));
            }
            let event = domain::Event::Project(Event::Created(created.clone()));
            // The filter covers every org: slugs are unique in the installation.
            Ok(Decision::Append(Box::new(Fact::first(aggregate.clone(), Position::START, event)), aggregate.clone()))
        };
        self.mutate(decide, render).await
    }

    pub(super) async fn update_project(&self) -> Result<Answer, ApiError> {
        let place = self.place()?;
        let wanted = UpdateProject::parse(self.request.body.clone())?;
        let decide = |state: &State| {
            let project = state.orgs.project(&place.project).ok_or_else(|| ApiError::not_found("Project"))?;
            let aggregate = Aggregate::Project { org: project.org.clone(), project: project.slug.clone() };
            Ok(match change_registration(project, wanted.registration) {
                Some(event) => {
                    let fact = Fact::next(aggregate.clone(), project.position, domain::Event::Project(event));
                    Decision::Append(Box::new(fact), aggregate)
                }
                None => Decision::Nothing(aggregate),
            })
        };
        self.mutate(decide, render).await
    }

    pub(super) fn list_projects(&self) -> Result<Answer, ApiError> {
        self.read(|state| {
            let seen = state.orgs.projects().filter(|project| self.caller.sees(&project.org, &project.slug));
            let projects: Vec<ProjectBody> = seen.map(ProjectBody::from).collect();
            Ok(json!({"total": projects.len(), "projects": projects}))
        })
    }
}

fn render(state: &State, aggregate: &Aggregate, _replayed: bool) -> Option<Value> {
    let project = state.orgs.project(aggregate.project()?)?;
    serde_json::to_value(ProjectBody::from(project)).ok()
}
