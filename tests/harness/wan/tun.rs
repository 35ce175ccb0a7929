//! TUN devices, and waiting for several of them at once.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

/// Where the kernel makes them.
pub(super) const DEVICE: &str = "/dev/net/tun";

/// Makes the device `eth0` in the network namespace of the thread that calls this. It is gone with the file. What the kernel
/// sends there is read packet by packet, and never blocks.
///
/// No header is asked for, so the kernel cuts large segments to the MTU and fills in all checksums before it hands them out.
pub(super) fn open() -> io::Result<File> {
    let file = reach()?;
    let flags = libc::c_short::try_from(libc::IFF_TUN | libc::IFF_NO_PI).map_err(io::Error::other)?;
    // SAFETY: zeroed is a valid ifreq; the kernel reads the name and the flags, and writes only into the request.
    #[expect(unsafe_code, reason = "std knows no ioctl")]
    let outcome = unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(*b"eth0") {
            *to = from.cast_signed();
        }
        request.ifr_ifru.ifru_flags = flags;
        libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request)
    };
    if outcome == 0 {
        Ok(file)
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Opens the kernel's device, which is no interface yet.
pub(super) fn reach() -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_NONBLOCK);
    options.open(DEVICE)
}

/// Waits until one of `files` can be read, or for `limit`; which of them can be, or have been closed at their other end.
pub(super) fn wait(files: &[BorrowedFd<'_>], limit: Option<Duration>) -> io::Result<Vec<bool>> {
    let polled = |file: &BorrowedFd<'_>| libc::pollfd {
        fd: file.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let mut polled: Vec<_> = files.iter().map(polled).collect();
    let count = libc::nfds_t::try_from(polled.len()).map_err(io::Error::other)?;
    let limit = limit.map(|limit| libc::timespec {
        tv_sec: libc::time_t::try_from(limit.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: limit.subsec_nanos().into(),
    });
    let until = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the kernel writes only into the `count` entries of `polled`; the time is null or outlives the call.
    #[expect(unsafe_code, reason = "std waits for one file at a time")]
    let outcome = unsafe { libc::ppoll(polled.as_mut_ptr(), count, until, std::ptr::null()) };
    if outcome >= 0 {
        return Ok(polled.iter().map(|file| file.revents != 0).collect());
    }
    let error = io::Error::last_os_error();
    if error.kind() == io::ErrorKind::Interrupted {
        return Ok(vec![false; files.len()]);
    }
    Err(error)
}

/// Lets this thread wake up when it asks to, also beside others that compute: what it sleeps too long is measured as the link's
/// delay. Where the kernel does not let it, it is as punctual as any other.
pub(super) fn be_punctual() {
    // SAFETY: both calls take numbers, concern this thread alone and touch no memory.
    #[expect(unsafe_code, reason = "std sets no priorities and no timer slack")]
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, -15);
        libc::prctl(libc::PR_SET_TIMERSLACK, 1);
    }
}
