//! Whether the link to a machine is there, so that nobody takes what was seen before it was lost for what is.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Session;

/// Between two looks at the master, which is a process of this machine. It ends by itself where the other side is silent.
const LOOK: Duration = Duration::from_secs(1);

impl Session {
    /// Waits until a link that was there is lost. Ends at once where there is none.
    pub(crate) async fn until_lost(&self) {
        while self.is_linked.load(Ordering::Relaxed) {
            // Whoever connects holds the lock, and says how that ends.
            let open = match self.link.try_lock() {
                Ok(state) => state.open.clone(),
                Err(_) => None,
            };
            if let Some(open) = open
                && !open.is_alive().await
            {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Whether the link was there when it was used last.
    pub(crate) fn is_linked(&self) -> bool {
        self.is_linked.load(Ordering::Relaxed)
    }
}
