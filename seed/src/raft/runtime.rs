//! What the log runs on: the operating system's threads, or, under `--cfg coterie_simulated`, nothing but the one
//! thread on which everything is simulated.

#[cfg(not(coterie_simulated))]
pub(super) use real::Runtime;
#[cfg(not(coterie_simulated))]
pub(super) use real::{Writer, aside, scope};
#[cfg(coterie_simulated)]
pub(super) use simulated::Runtime;
#[cfg(coterie_simulated)]
pub(super) use simulated::{Writer, aside, scope};

#[cfg(not(coterie_simulated))]
mod real {
    use std::future::Future;
    use std::io;
    use std::sync::mpsc::{self, Sender};
    use std::sync::{Arc, Mutex, PoisonError};
    use std::thread::JoinHandle;

    use tokio::sync::oneshot;

    /// openraft's runtime.
    pub(in crate::raft) use openraft::impls::TokioRuntime as Runtime;

    /// A queue, and the one thread that does what comes through it. It may wait for a disk as long as it likes.
    pub(in crate::raft) struct Writer<T> {
        queue: Option<Sender<T>>,
        thread: Option<JoinHandle<()>>,
    }

    impl<T: Send + 'static> Writer<T> {
        /// Does `work` with whatever has gathered, up to `most` at a time.
        pub(in crate::raft) fn start(
            most: usize,
            mut work: impl FnMut(Vec<T>) + Send + 'static,
        ) -> io::Result<Self> {
            let (queue, waiting) = mpsc::channel();
            let thread = std::thread::Builder::new().name("log-writer".to_owned()).spawn(move || {
                while let Ok(first) = waiting.recv() {
                    let more = std::iter::from_fn(|| waiting.try_recv().ok());
                    work([first].into_iter().chain(more).take(most).collect());
                }
            })?;
            Ok(Writer { queue: Some(queue), thread: Some(thread) })
        }

        /// Queues this; false, if it never will be done.
        pub(in crate::raft) fn send(&self, it: T) -> bool {
            self.queue.as_ref().is_some_and(|queue| queue.send(it).is_ok())
        }
    }

    impl<T> Drop for Writer<T> {
        fn drop(&mut self) {
            self.queue.take();
            if let Some(thread) = self.thread.take() {
                // All is done when this returns, so the file is closed and can be opened again.
                let _ = thread.join();
            }
        }
    }

    /// Does long `work` beside everything else.
    pub(in crate::raft) async fn aside<T: Send + 'static>(
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let (reply, done) = oneshot::channel();
        let work = Arc::new(Mutex::new(Some(work)));
        let taken = Arc::clone(&work);
        let begun = std::thread::Builder::new().name("aside".to_owned()).spawn(move || {
            if let Some(work) = taken.lock().unwrap_or_else(PoisonError::into_inner).take() {
                // Who asked may have ended.
                let _ = reply.send(work());
            }
        });
        match begun {
            Ok(_) => done.await.map_err(io::Error::other),
            // Without a thread it is done here: everything waits for it a moment, and then goes on.
            Err(error) => {
                work.lock().unwrap_or_else(PoisonError::into_inner).take().map(|work| work()).ok_or(error)
            }
        }
    }

    /// Whatever openraft draws in it, it draws.
    pub(in crate::raft) async fn scope<T>(work: impl Future<Output = T>) -> T {
        work.await
    }
}

#[cfg(coterie_simulated)]
mod simulated {
    use std::future::Future;
    use std::io;
    use std::time::Duration;

    use coterie_common::clock::entropy;
    use tokio::sync::mpsc::{self, UnboundedSender};
    use tokio::time::sleep;

    /// openraft's runtime, whose draws follow from a number.
    pub(in crate::raft) type Runtime =
        openraft::rt::deterministic_rng::DeterministicRng<openraft::impls::TokioRuntime>;

    /// How long a disk takes to write: now and then as long as a bad one.
    const PACES_MS: [u64; 8] = [1, 1, 1, 2, 2, 3, 5, 16];

    /// A queue, and the task that does what comes through it, at the pace of a disk.
    pub(in crate::raft) struct Writer<T> {
        queue: UnboundedSender<T>,
    }

    impl<T: Send + 'static> Writer<T> {
        /// Does `work` with whatever has gathered, up to `most` at a time.
        pub(in crate::raft) fn start(
            most: usize,
            mut work: impl FnMut(Vec<T>) + Send + 'static,
        ) -> io::Result<Self> {
            let (queue, mut waiting) = mpsc::unbounded_channel();
            tokio::spawn(async move {
                while let Some(first) = waiting.recv().await {
                    sleep(Duration::from_millis(PACES_MS[usize::from(entropy()[0] % 8)])).await;
                    let more = std::iter::from_fn(|| waiting.try_recv().ok());
                    work([first].into_iter().chain(more).take(most).collect());
                }
            });
            Ok(Writer { queue })
        }

        /// Queues this; false, if it never will be done.
        pub(in crate::raft) fn send(&self, it: T) -> bool {
            self.queue.send(it).is_ok()
        }
    }

    /// Does `work` here and now: no time passes meanwhile.
    pub(in crate::raft) async fn aside<T: Send + 'static>(
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        Ok(work())
    }

    /// Whatever openraft draws in it follows from what this simulation was given.
    pub(in crate::raft) async fn scope<T>(work: impl Future<Output = T>) -> T {
        let chance = entropy();
        Runtime::scope(u64::from_le_bytes(chance[..8].try_into().unwrap_or_default()), work).await
    }
}
