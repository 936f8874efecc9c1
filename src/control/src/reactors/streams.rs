//! Feeds the ring that streams read from.

use crate::control::Control;
use tokio::sync::broadcast::error::RecvError;

pub(crate) async fn run(control: Control) {
    let mut facts = control.views().listen();
    // Listening began before this position was read, so no fact after it is missed.
    control.streams().begin(control.position());
    loop {
        match facts.recv().await {
            Ok(fact) => control.streams().add(&fact),
            Err(RecvError::Lagged(_)) => control.streams().begin(control.position()),
            Err(RecvError::Closed) => return,
        }
    }
}
