//! File systems with little memory.

#![allow(dead_code)]

use std::ffi::CString;
use std::path::Path;

use super::child::Child;
use super::skip;

/// Runs `work` in a process of its own, with a file system in memory of `size` bytes in
/// `directory`. Where the system does not allow that, `work` is not run, and this says so.
pub(crate) fn with_little_memory(directory: &Path, size: usize, work: impl FnOnce()) {
    let path = CString::new(directory.to_str().unwrap()).unwrap();
    let options = CString::new(format!("size={size}")).unwrap();
    let child = Child::start(|| {
        // SAFETY: what these change ends with this process.
        let mounted = unsafe {
            (libc::unshare(libc::CLONE_NEWNS) == 0
                || libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) == 0)
                && libc::mount(
                    c"none".as_ptr(),
                    c"/".as_ptr(),
                    std::ptr::null(),
                    libc::MS_REC | libc::MS_PRIVATE,
                    std::ptr::null(),
                ) == 0
                && libc::mount(
                    c"tmpfs".as_ptr(),
                    path.as_ptr(),
                    c"tmpfs".as_ptr(),
                    0,
                    options.as_ptr().cast(),
                ) == 0
        };
        if !mounted {
            return skip("this system lets nobody mount a file system in memory");
        }
        work();
    });
    child.finish();
}
