//! Work that somebody asked for and waits for.

use tokio::sync::watch;

/// How often something was asked for, and how far that was done. A request that was made before
/// anybody listened, or whose work broke off, is still there for whoever comes next.
#[derive(Debug, Default)]
pub(super) struct Requests(watch::Sender<Counts>);

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    asked: u64,
    done: u64,
}

impl Requests {
    pub(super) fn ask(&self) {
        self.0
            .send_modify(|counts| counts.asked = counts.asked.wrapping_add(1));
    }

    /// Waits until something is asked for that is not done. To be given to [`Self::done`].
    pub(super) async fn asked(&self) -> u64 {
        let mut counts = self.0.subscribe();
        loop {
            let Counts { asked, done } = *counts.borrow_and_update();
            if asked != done {
                return asked;
            }
            if counts.changed().await.is_err() {
                // Nobody can ask any more.
                std::future::pending::<()>().await;
            }
        }
    }

    /// What was asked for until then is done; what was asked for since is not.
    pub(super) fn done(&self, asked: u64) {
        self.0.send_modify(|counts| counts.done = asked);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_request_waits_for_whoever_does_it_until_it_is_done() {
        let requests = Requests::default();
        assert!(requests.asked().now_or_never().is_none());
        requests.ask();
        let asked = requests.asked().now_or_never().unwrap();
        assert!(requests.asked().now_or_never().is_some(), "not done yet");
        requests.ask();
        requests.done(asked);
        let asked = requests.asked().now_or_never().unwrap();
        requests.done(asked);
        assert!(requests.asked().now_or_never().is_none());
    }
}
