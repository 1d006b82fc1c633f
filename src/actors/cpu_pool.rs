//! Threads for work that keeps a core busy (proving, verifying, hashing trees), apart from every runtime: a long
//! computation must not keep a heartbeat waiting. The queue before them is bounded, and a job that panics fails alone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// A fixed number of threads behind a bounded queue. Cloning shares them.
#[derive(Clone)]
pub struct CpuPool {
    jobs: mpsc::SyncSender<Job>,
    threads: usize,
    name: &'static str,
}

/// A job was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// The queue is full; the job was not taken.
    #[error("the {0} queue is full")]
    QueueFull(&'static str),
    /// The job waited too long for its turn; it was not done.
    #[error("the {0} queue is too slow")]
    WaitedTooLong(&'static str),
    /// The pool has ended.
    #[error("the {0} threads have ended")]
    Ended(&'static str),
    /// The job panicked.
    #[error("a {0} job panicked")]
    Panicked(&'static str),
}

impl CpuPool {
    /// Queues `work`, which says itself what has come of it. Should it panic, nobody is told.
    ///
    /// # Errors
    /// When the queue is full, or the pool has ended.
    pub fn queue(&self, work: impl FnOnce() + Send + 'static) -> Result<(), JobError> {
        self.jobs.try_send(Box::new(work)).map_err(|error| match error {
            mpsc::TrySendError::Full(_) => JobError::QueueFull(self.name),
            mpsc::TrySendError::Disconnected(_) => JobError::Ended(self.name),
        })
    }

    /// Starts `threads` threads; `queue` more jobs may wait.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(name: &'static str, threads: usize, queue: usize) -> std::io::Result<Self> {
        let (jobs, receiver) = mpsc::sync_channel::<Job>(queue);
        let receiver = Arc::new(Mutex::new(receiver));
        let threads = threads.max(1);
        for number in 0..threads {
            let receiver = Arc::clone(&receiver);
            std::thread::Builder::new().name(format!("{name}-{number}")).spawn(move || run(&receiver))?;
        }
        Ok(Self { jobs, threads, name })
    }

    /// How many jobs run at a time.
    #[must_use]
    pub const fn threads(&self) -> usize {
        self.threads
    }

    /// As [`Self::run`], for somebody who does not wait for ever: a job that has not begun within `limit` is not begun.
    ///
    /// # Errors
    /// See [`JobError`].
    pub async fn run_within<R: Send + 'static>(
        &self,
        limit: Duration,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, JobError> {
        let queued = Instant::now();
        let done = self.run(move || (queued.elapsed() <= limit).then(work)).await?;
        done.ok_or(JobError::WaitedTooLong(self.name))
    }

    /// Runs `work` on one of the threads and waits for its result. Dropping the future does not stop the work.
    ///
    /// # Errors
    /// See [`JobError`].
    pub async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, JobError> {
        let (sender, receiver) = oneshot::channel();
        self.queue(move || {
            // The state that a job works on is its own, so that nothing half-changed outlives its panic.
            let result = catch_unwind(AssertUnwindSafe(work));
            let _ = sender.send(result.map_err(|_| ()));
        })?;
        match receiver.await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(())) => Err(JobError::Panicked(self.name)),
            Err(_) => Err(JobError::Ended(self.name)),
        }
    }
}

fn run(receiver: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        // The lock is held while waiting: the threads take turns in waiting, and work side by side.
        let job = receiver.lock().unwrap_or_else(std::sync::PoisonError::into_inner).recv();
        match job {
            // The thread outlives a job that panics; whoever waits for it is told by what the job drops.
            Ok(job) => drop(catch_unwind(AssertUnwindSafe(job))),
            Err(mpsc::RecvError) => return,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn a_panicking_job_fails_alone() {
        let pool = CpuPool::start("test", 1, 4).unwrap();
        assert_eq!(pool.run(|| -> u32 { panic!("as planned") }).await, Err(JobError::Panicked("test")));
        assert_eq!(pool.run(|| 7).await, Ok(7));
    }

    #[actix_rt::test]
    async fn a_full_queue_refuses_at_once() {
        let pool = CpuPool::start("test", 1, 1).unwrap();
        let (release, blocked) = mpsc::channel::<()>();
        let (started, has_started) = oneshot::channel();
        let first = actix_rt::spawn({
            let pool = pool.clone();
            async move {
                pool.run(move || {
                    let _ = started.send(());
                    blocked.recv().unwrap()
                })
                .await
            }
        });
        has_started.await.unwrap();
        let mut second = Box::pin(pool.run(|| ()));
        assert!(futures_util::poll!(second.as_mut()).is_pending());
        assert_eq!(pool.run(|| ()).await, Err(JobError::QueueFull("test")));
        release.send(()).unwrap();
        assert_eq!(first.await.unwrap(), Ok(()));
        assert_eq!(second.await, Ok(()));
    }
}
