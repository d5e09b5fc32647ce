//! Whether the link to a machine is there, so that nobody takes what was seen before it was lost for what is.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Session;

/// Whoever connects holds the link, and says how that ends; looked again after this time.
const LOOK: Duration = Duration::from_millis(500);

impl Session {
    /// Waits until a link that was there is lost. Ends at once where there is none.
    pub(crate) async fn until_lost(&self) {
        while self.is_linked() {
            let open = self
                .link
                .try_lock()
                .ok()
                .and_then(|state| state.open.clone());
            match open {
                Some(open) => return open.until_dead().await,
                None => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// Whether the link was there when it was used last.
    pub(crate) fn is_linked(&self) -> bool {
        self.is_linked.load(Ordering::Relaxed)
    }
}
