//! The wish that a proof be given up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A flag that clones share. A proof looks at it between its phases, so up to one phase passes before it ends.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Nobody wishes it yet.
    #[must_use]
    pub fn new() -> Stop {
        Stop::default()
    }

    /// Gives up all proofs that hold a clone. There is no way back.
    pub fn stop(&self) {
        // Nothing else is published with the flag.
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody did.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
