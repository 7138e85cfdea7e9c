//! A disk that hangs, fails or lies, and what the stream notices of it: nothing.

use std::fs::File;
use std::pin::pin;

use super::*;

fn cache(directory: &Path) -> Cache {
    let key = identity().key;
    Cache::new(directory, &key.namespace, &key.service)
}

fn saved(directory: &Path) -> Option<u64> {
    let held = cache(directory).load().unwrap();
    held.map(|held| held.replica.known().revision.0)
}

/// Takes the lock as another process that hangs would.
fn hang(directory: &Path) -> File {
    let lock = File::create(directory.join("default%checkout.lock")).unwrap();
    lock.lock().unwrap();
    lock
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_delays_neither_acks_nor_heartbeats_nor_the_end() {
    let (net, directory) = (Net::default(), tempfile::tempdir().unwrap());
    let _hung = hang(directory.path());
    let mut a = net.serve("a");
    let process = Process::start_with(&net, &["a"], Some(directory.path()));
    let mut stream = told(&mut a, 1, 1, 5).await;
    for revision in 2..=20 {
        let begun = Instant::now();
        stream.say(Down::Snapshot(attempts(1, revision, 6))).await;
        assert_eq!(stream.hear_ack().await, Some(revision));
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
    stream.beat(BEAT, 10).await;
    assert_eq!(
        (process.health().reconnects, saved(directory.path())),
        (0, None)
    );
    let begun = Instant::now();
    process.fusebox.shutdown().await;
    assert!(begun.elapsed() <= FAREWELL, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_shutdown_waits_for_the_write_that_is_under_way() {
    let (net, directory) = (Net::default(), tempfile::tempdir().unwrap());
    let hung = hang(directory.path());
    let mut a = net.serve("a");
    let process = Process::start_with(&net, &["a"], Some(directory.path()));
    let stream = told(&mut a, 1, 3, 5).await;
    drop((stream, a));
    net.shut("a");
    let mut shutdown = pin!(process.fusebox.shutdown());
    let first = std::future::poll_fn(|cx| std::task::Poll::Ready(shutdown.as_mut().poll(cx)));
    assert!(first.await.is_pending());
    assert_eq!(saved(directory.path()), None);
    drop(hung);
    shutdown.await;
    assert_eq!(saved(directory.path()), Some(3));
}
