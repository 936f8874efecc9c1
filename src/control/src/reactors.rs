//! What happens on its own. A reactor wakes, looks at the views and acts; it does not trust what woke it. Every action lands
//! through an expected position, so that doing it twice, or on two replicas at once, is harmless.

pub(crate) mod compile;
pub(crate) mod enrollment;
pub(crate) mod late;
pub(crate) mod liveness;
pub(crate) mod orphans;
pub(crate) mod rollout;
pub(crate) mod streams;
pub(crate) mod waiting;
