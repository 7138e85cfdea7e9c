//! No huge pages for this process.
//!
//! Each connection holds buffers of which it touches the beginning: tens of KiB, of which a few are
//! used. The allocator asks for huge pages, and those are there whole once any of it is touched.
//! With ten thousand sessions a session takes 31 KiB without them, 50 KiB with them.

/// Says so to the system, which may know none.
pub(crate) fn decline() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages cannot be declined; sessions may take more memory");
    }
}
