//! The handle's part for backups: the ledger at one moment, and a thread to write it out on.

use super::RaftService;
use crate::raft::image::{ImageError, LedgerImage};

impl RaftService {
    /// The ledger with everything that was acknowledged before this was called, by whichever member.
    ///
    /// # Errors
    /// When no leader confirms what that is, there is no cluster yet, or the files fail.
    pub async fn image(&self) -> Result<LedgerImage, ImageError> {
        self.read_barrier().await?;
        let stores = self.inner.local.stores.clone();
        let closed = stores.ledger.closed();
        let freeze = move || -> Result<LedgerImage, ImageError> {
            LedgerImage::new(stores.ledger.freeze()?, stores.log.cluster())
        };
        self.run_blocking(freeze).await.unwrap_or(Err(closed.into()))
    }

    /// Runs work that blocks on one of Raft's threads for files; `None` when Raft has stopped meanwhile, or the work panicked.
    /// A shutdown waits for work that holds an image: it should end when nobody wants its result any more.
    /// It begins at once, and goes on when the future is dropped.
    pub fn run_blocking<T: Send + 'static, W: FnOnce() -> T + Send + 'static>(
        &self,
        work: W,
    ) -> impl Future<Output = Option<T>> + use<T, W> {
        let begun = self.inner.runtime.spawn_blocking(work);
        async move { begun.await.ok() }
    }
}
