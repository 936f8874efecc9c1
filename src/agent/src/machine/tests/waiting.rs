//! Questions that the server lets wait.

use super::*;

const WAIT: Duration = Duration::from_secs(30);

fn waiting() -> Given {
    let mut given = running(on_bundle_1());
    given.machine.pace.wait = Some(WAIT);
    given
}

/// Time passes until the next poll starts; beats on the way are answered.
fn until_poll(given: &mut Given) -> Duration {
    let began = given.elapsed;
    for _ in 0..10 {
        let due = given.wait();
        if due.iter().any(|action| matches!(action, Action::Beat(..))) {
            given.when(beat_ok());
        }
        if due.iter().any(|action| matches!(action, Action::Poll(_))) {
            return given.elapsed - began;
        }
    }
    panic!("no poll came");
}

#[test]
fn a_question_that_waited_is_followed_by_the_next_at_once() {
    let mut given = waiting();
    until_poll(&mut given);
    for _ in 0..3 {
        given.elapsed += WAIT;
        given.when(no_update());
        assert_eq!(until_poll(&mut given), Duration::ZERO);
    }
}

#[test]
fn a_server_that_does_not_wait_is_asked_at_intervals() {
    let mut given = waiting();
    until_poll(&mut given);
    given.elapsed += Duration::from_secs(2);
    given.when(no_update());
    assert_eq!(until_poll(&mut given), Duration::from_secs(30), "as without waiting");
    let soon = LatestBundle::NoUpdate(contract::NoUpdate { no_update: true, poll_after_s: 3 });
    given.when(Input::Polled(Ok(soon)));
    assert_eq!(until_poll(&mut given), Duration::from_secs(3), "as a server that stops asks for");
    given.machine.pace.wait = Some(Duration::from_secs(10));
    given.when(no_update());
    assert_eq!(until_poll(&mut given), Duration::from_secs(10), "no slower than it would wait");
}

#[test]
fn after_an_activation_the_next_question_follows_the_beat_that_tells_it() {
    let mut given = waiting();
    assert!(matches!(&given.when_offered(2, 2)[..], [Action::Fetch(..)]));
    given.when(Input::Fetched(Ok(())));
    let staging = given.due();
    assert!(matches!(&staging[..], [Action::Beat(..)]));
    let mut progress = on_bundle_1();
    progress.succeed(&target(2));
    given.when(Input::Activated(Box::new(Activated { progress, postponed: None })));
    given.when(beat_ok());
    assert!(matches!(&given.due()[..], [Action::Beat(_, beat)] if beat.active == Some(bundle_id(2))), "first the beat");
    given.when(beat_ok());
    assert!(matches!(&given.due()[..], [Action::Poll(_)]), "then the question");
    // The server offers the same once more: no hurry then.
    given.when(no_update());
    assert!(until_poll(&mut given) >= Duration::from_secs(10));
}
