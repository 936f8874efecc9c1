//! Paging of lists: `limit` and an opaque `after` that the previous page gave as `next`.

use crate::fields::FieldErrors;
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub limit: usize,
    pub after: Option<String>,
}

impl Page {
    pub const LIMIT_DEFAULT: usize = 100;
    pub const LIMIT_MAX: usize = 1000;

    pub fn from_query(query: &BTreeMap<String, String>) -> Result<Page, FieldErrors> {
        let limit = match query.get("limit") {
            None => Page::LIMIT_DEFAULT,
            Some(text) => match text.parse::<usize>() {
                Ok(n) if (1..=Page::LIMIT_MAX).contains(&n) => n,
                _ => {
                    return Err(FieldErrors::one("limit", format!("must be 1 to {}", Page::LIMIT_MAX)));
                }
            },
        };
        Ok(Page { limit, after: query.get("after").cloned() })
    }
}
