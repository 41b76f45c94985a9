//! The client's end of a Windows named pipe, with deadlines.
//!
//! Every operation is overlapped and waits for its own event and for the pipe's shutdown. None
//! outlives its call: what has not ended in time is cancelled and waited for.

use std::{
    fs::OpenOptions,
    io,
    os::windows::{
        fs::OpenOptionsExt,
        io::{AsRawHandle, FromRawHandle, OwnedHandle},
    },
    ptr,
    time::{Duration, Instant},
};

use windows_sys::{
    Win32::{
        Foundation::{
            ERROR_BROKEN_PIPE, ERROR_HANDLE_EOF, ERROR_IO_INCOMPLETE, ERROR_IO_PENDING,
            ERROR_NO_DATA, ERROR_OPERATION_ABORTED, ERROR_PIPE_BUSY, ERROR_PIPE_NOT_CONNECTED,
            ERROR_SEM_TIMEOUT, HANDLE, WAIT_OBJECT_0, WAIT_TIMEOUT,
        },
        Storage::FileSystem::{FILE_FLAG_OVERLAPPED, ReadFile, SECURITY_IDENTIFICATION, WriteFile},
        System::{
            IO::{CancelIoEx, GetOverlappedResult, OVERLAPPED},
            Pipes::{PeekNamedPipe, WaitNamedPipeW},
            Threading::{
                CreateEventW, INFINITE, SetEvent, WaitForMultipleObjects, WaitForSingleObject,
            },
        },
    },
    core::BOOL,
};

/// The most that one write hands to the system: a large packet makes progress before its timeout
/// is over, and pipes of other machines take no more at once.
const WRITE_MAX: usize = 63 << 10;

/// An open pipe.
#[derive(Debug)]
pub(crate) struct Pipe {
    pipe: OwnedHandle,
    /// Set for good by a shutdown.
    down: OwnedHandle,
}

impl Pipe {
    /// Opens `\\server\pipe\name`. While all its instances are taken, waits for one until
    /// `deadline`; a pipe that doesn't exist is `NotFound` at once.
    pub fn connect(server: &str, name: &str, deadline: Instant) -> io::Result<Pipe> {
        let separator = ['\\', '/'];
        if server.is_empty()
            || server.contains(separator)
            || name
                .split(separator)
                .any(|part| matches!(part, "" | "." | ".."))
        {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not the name of a pipe",
            ));
        }
        let path = format!(r"\\{server}\pipe\{name}");
        let down = event()?;
        loop {
            let opened = OpenOptions::new()
                .read(true)
                .write(true)
                .share_mode(0)
                .custom_flags(FILE_FLAG_OVERLAPPED)
                // Whoever serves the pipe may see who we are, and not act as us.
                .security_qos_flags(SECURITY_IDENTIFICATION)
                .open(&path);
            match opened {
                Ok(file) => {
                    return Ok(Pipe {
                        pipe: file.into(),
                        down,
                    });
                }
                Err(e) if is(&e, ERROR_PIPE_BUSY) => wait_for_instance(&path, deadline)?,
                Err(e) => return Err(e),
            }
        }
    }

    /// Reads what is there, at least a byte. `Ok(0)`: the server closed the pipe; `TimedOut`:
    /// nothing came within `timeout`.
    pub fn read(&self, buf: &mut [u8], timeout: Option<Duration>) -> io::Result<usize> {
        let length = u32::try_from(buf.len()).unwrap_or(u32::MAX);
        let read = self.run(timeout, |pipe, operation| {
            // SAFETY: `buf` has `length` bytes to write to and is borrowed until `run` returns,
            // which is after the operation's end.
            unsafe { ReadFile(pipe, buf.as_mut_ptr(), length, ptr::null_mut(), operation) }
        });
        match read {
            Err(e) if is_closed(&e) => Ok(0),
            read => read,
        }
    }

    /// Writes some of `buf`. `TimedOut`: it was not taken within `timeout`; how much of it went
    /// out is unknown then.
    pub fn write(&self, buf: &[u8], timeout: Option<Duration>) -> io::Result<usize> {
        let buf = &buf[..buf.len().min(WRITE_MAX)];
        self.run(timeout, |pipe, operation| {
            // SAFETY: `buf` has as many bytes as told, fewer than 4 GiB, and is borrowed until
            // `run` returns, which is after the operation's end.
            unsafe {
                WriteFile(
                    pipe,
                    buf.as_ptr(),
                    buf.len() as u32,
                    ptr::null_mut(),
                    operation,
                )
            }
        })
    }

    /// The number of bytes that can be read without waiting; an error when there are none and
    /// none will come.
    pub fn readable(&self) -> io::Result<usize> {
        self.check()?;
        let mut available = 0;
        // SAFETY: the pipe is open; `available` is valid to write to; the others may be null.
        let peeked = unsafe {
            PeekNamedPipe(
                self.raw(),
                ptr::null_mut(),
                0,
                ptr::null_mut(),
                &mut available,
                ptr::null_mut(),
            )
        };
        if peeked == 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(available as usize)
        }
    }

    /// Wakes a read or write in another thread with an error; later calls fail.
    pub fn shutdown(&self) {
        // SAFETY: the event is open. Setting an open event can't fail.
        unsafe { SetEvent(self.down.as_raw_handle()) };
    }

    fn raw(&self) -> HANDLE {
        self.pipe.as_raw_handle()
    }

    fn check(&self) -> io::Result<()> {
        // SAFETY: the event is open.
        match unsafe { WaitForSingleObject(self.down.as_raw_handle(), 0) } {
            WAIT_OBJECT_0 => Err(shut_down()),
            _ => Ok(()),
        }
    }

    /// Runs one overlapped operation to its end and tells the bytes it moved. `start` begins it
    /// on the pipe with the `OVERLAPPED` it is given, and returns what the system did.
    fn run(
        &self,
        timeout: Option<Duration>,
        start: impl FnOnce(HANDLE, *mut OVERLAPPED) -> BOOL,
    ) -> io::Result<usize> {
        self.check()?;
        let done = event()?;
        let mut operation = OVERLAPPED {
            hEvent: done.as_raw_handle(),
            ..Default::default()
        };
        let operation = &raw mut operation;
        let mut given_up = None;
        if start(self.raw(), operation) == 0 {
            let e = io::Error::last_os_error();
            if !is(&e, ERROR_IO_PENDING) {
                return Err(e);
            }
            if let Err(why) = self.wait(&done, timeout) {
                given_up = Some(why);
                // SAFETY: the pipe is open and `operation` is the one that was started on it.
                // This fails where it has ended meanwhile, which the result tells.
                unsafe { CancelIoEx(self.raw(), operation) };
            }
        }
        loop {
            let mut moved = 0;
            // SAFETY: the pipe is open and `operation` was started on it; its event is open.
            // Waits for the end, so that the system is done with `operation` and the buffer.
            if unsafe { GetOverlappedResult(self.raw(), operation, &mut moved, 1) } != 0 {
                return Ok(moved as usize);
            }
            let e = io::Error::last_os_error();
            if is(&e, ERROR_IO_INCOMPLETE) {
                continue;
            }
            return Err(match given_up {
                Some(why) if is(&e, ERROR_OPERATION_ABORTED) => why,
                _ => e,
            });
        }
    }

    /// Waits until `done` is set; an error for the end of the time and for a shutdown.
    fn wait(&self, done: &OwnedHandle, timeout: Option<Duration>) -> io::Result<()> {
        let events = [self.down.as_raw_handle(), done.as_raw_handle()];
        let timeout = timeout.map_or(INFINITE, millis);
        // SAFETY: `events` are two open events.
        match unsafe { WaitForMultipleObjects(2, events.as_ptr(), 0, timeout) } {
            WAIT_OBJECT_0 => Err(shut_down()),
            WAIT_TIMEOUT => Err(io::ErrorKind::TimedOut.into()),
            n if n == WAIT_OBJECT_0 + 1 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Waits until an instance of a pipe is free, which somebody else may take then.
fn wait_for_instance(path: &str, deadline: Instant) -> io::Result<()> {
    let busy = || {
        io::Error::new(
            io::ErrorKind::TimedOut,
            "all instances of the pipe are in use",
        )
    };
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(busy());
    }
    let path: Vec<u16> = path.encode_utf16().chain([0]).collect();
    // SAFETY: `path` ends with a null. The time is neither of the values with a meaning of their
    // own, 0 and `u32::MAX`.
    if unsafe { WaitNamedPipeW(path.as_ptr(), millis(left).max(1)) } != 0 {
        return Ok(());
    }
    let e = io::Error::last_os_error();
    Err(if is(&e, ERROR_SEM_TIMEOUT) { busy() } else { e })
}

/// An event that stays set once it is.
fn event() -> io::Result<OwnedHandle> {
    // SAFETY: the attributes and the name may be null.
    let event = unsafe { CreateEventW(ptr::null(), 1, 0, ptr::null()) };
    if event.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the event was made just now and has no other owner.
    Ok(unsafe { OwnedHandle::from_raw_handle(event) })
}

/// In milliseconds, not less than `time`, and never `INFINITE`.
fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_nanos().div_ceil(1_000_000))
        .unwrap_or(u32::MAX)
        .min(INFINITE - 1)
}

fn is(e: &io::Error, code: u32) -> bool {
    e.raw_os_error() == Some(code as i32)
}

fn is_closed(e: &io::Error) -> bool {
    [
        ERROR_BROKEN_PIPE,
        ERROR_HANDLE_EOF,
        ERROR_NO_DATA,
        ERROR_PIPE_NOT_CONNECTED,
    ]
    .iter()
    .any(|c| is(e, *c))
}

fn shut_down() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the pipe was shut down")
}
