//! Means to hold an actor's thread, and to make an actor panic, from outside: the answer to an ask wakes its asker on the
//! actor's own thread, so a waker can do there what a defect would.

use crate::support::poll_until;
use std::pin::Pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake};

/// While it lives the actor's thread is held.
pub(crate) struct Stall<F> {
    _asked: Pin<Box<F>>,
    _release: mpsc::Sender<()>,
}

struct Holding {
    held: mpsc::Sender<()>,
    release: Mutex<mpsc::Receiver<()>>,
}

impl Wake for Holding {
    fn wake(self: Arc<Self>) {
        let _ = self.held.send(());
        // Ends with an error when the stall is let go of.
        let _ = self.release.lock().unwrap().recv();
    }
}

/// Asks, and holds the thread that answers.
pub(crate) async fn stall<F: Future>(mut question: impl FnMut() -> F) -> Stall<F> {
    let (held, is_held) = mpsc::channel();
    let (let_go, release) = mpsc::channel();
    let waker = Arc::new(Holding { held, release: Mutex::new(release) }).into();
    // An answer that is there before the asker waits for it wakes nobody.
    let asked = poll_until("a question waits for its answer", async || {
        let mut asked = Box::pin(question());
        asked.as_mut().poll(&mut Context::from_waker(&waker)).is_pending().then_some(asked)
    })
    .await;
    poll_until("the actor's thread is held", async || is_held.try_recv().ok()).await;
    Stall { _asked: asked, _release: let_go }
}

struct Panicking;

impl Wake for Panicking {
    fn wake(self: Arc<Self>) {
        panic!("as planned: the asker's waker");
    }
}

/// Asks in such a way that the actor panics when it answers. The question must be kept.
pub(crate) fn ask_to_panic<F: Future>(question: F) -> Pin<Box<F>> {
    let waker = Arc::new(Panicking).into();
    let mut asked = Box::pin(question);
    assert!(asked.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    asked
}

/// Polls once.
pub(crate) fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(futures_util::task::noop_waker_ref()))
}
