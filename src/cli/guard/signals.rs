//! Signals that end the program, and what they mean for its exit code.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::cli::exit::Exit;

/// Signals that end the program, heard from the first moment to the last, whatever is under way.
pub(super) struct Signals {
    from: mpsc::Receiver<Exit>,
    first: Option<Exit>,
}

impl Signals {
    pub(super) fn listen() -> Self {
        let (to, from) = mpsc::channel(8);
        for (kind, exit) in [
            (SignalKind::hangup(), Exit::Hangup),
            (SignalKind::interrupt(), Exit::Interrupted),
            (SignalKind::terminate(), Exit::Terminated),
        ] {
            let Ok(mut stream) = signal(kind) else {
                continue;
            };
            let to = to.clone();
            tokio::spawn(async move {
                while stream.recv().await.is_some() {
                    // A full channel holds enough of them.
                    let _ = to.try_send(exit);
                }
            });
        }
        Self { from, first: None }
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) -> Exit {
        match self.from.recv().await {
            Some(exit) => *self.first.insert(self.first.unwrap_or(exit)),
            None => std::future::pending().await,
        }
    }

    /// The first that came so far.
    pub(super) fn came(&mut self) -> Option<Exit> {
        while let Ok(exit) = self.from.try_recv() {
            self.first.get_or_insert(exit);
        }
        self.first
    }

    /// The first that came; it did.
    pub(super) fn ended(&mut self) -> Exit {
        self.came().unwrap_or(Exit::Terminated)
    }
}
