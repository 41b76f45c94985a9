//! The server's end of a named pipe.

use std::{
    fs::File,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    os::windows::io::{AsRawHandle, FromRawHandle},
    ptr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use windows_sys::Win32::{
    Foundation::{ERROR_PIPE_CONNECTED, INVALID_HANDLE_VALUE},
    Storage::FileSystem::PIPE_ACCESS_DUPLEX,
    System::Pipes::{
        ConnectNamedPipe, CreateNamedPipeW, DisconnectNamedPipe, PIPE_READMODE_BYTE,
        PIPE_TYPE_BYTE, PIPE_WAIT, PeekNamedPipe,
    },
};

/// Bytes that a pipe holds for a reader that is late.
pub const BUFFER: u32 = 16 << 10;

/// One instance of a pipe, which serves one client after the other. It blocks.
pub struct Instance(File);

impl Instance {
    /// One of at most `most` instances of the pipe.
    pub fn new(name: &str, most: u32) -> io::Result<Instance> {
        let path: Vec<u16> = format!(r"\\.\pipe\{name}")
            .encode_utf16()
            .chain([0])
            .collect();
        let mode = PIPE_TYPE_BYTE | PIPE_READMODE_BYTE | PIPE_WAIT;
        // SAFETY: `path` ends with a null; the attributes may be null.
        let handle = unsafe {
            CreateNamedPipeW(
                path.as_ptr(),
                PIPE_ACCESS_DUPLEX,
                mode,
                most,
                BUFFER,
                BUFFER,
                0,
                ptr::null(),
            )
        };
        if handle == INVALID_HANDLE_VALUE {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the handle was made just now and has no other owner.
        Ok(Instance(unsafe { File::from_raw_handle(handle) }))
    }

    /// Waits for a client.
    pub fn accept(&self) -> io::Result<()> {
        // SAFETY: the pipe is open; without an OVERLAPPED this waits.
        if unsafe { ConnectNamedPipe(self.0.as_raw_handle(), ptr::null_mut()) } == 0 {
            let e = io::Error::last_os_error();
            if e.raw_os_error() != Some(ERROR_PIPE_CONNECTED as i32) {
                return Err(e);
            }
        }
        Ok(())
    }

    /// Throws the client out, with what it has not read yet, and makes room for another.
    pub fn disconnect(&self) {
        // SAFETY: the pipe is open.
        unsafe { DisconnectNamedPipe(self.0.as_raw_handle()) };
    }

    /// Waits until the client has read everything, or has gone.
    pub fn flush(&self) {
        drop(self.0.sync_all());
    }

    pub fn readable(&self) -> io::Result<usize> {
        let mut available = 0;
        let handle = self.0.as_raw_handle();
        // SAFETY: the pipe is open; `available` is valid to write to; the others may be null.
        let peeked = unsafe {
            PeekNamedPipe(
                handle,
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

    pub fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        (&self.0).read(buf)
    }

    pub fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.0).write_all(bytes)
    }
}

/// A pipe that leads to a TCP port.
pub struct Relay {
    cuts: Arc<AtomicU32>,
    clients: Arc<AtomicU32>,
}

impl Relay {
    /// Serves `instances` clients at a time until the process ends.
    pub fn start(name: &str, instances: u32, to: SocketAddr) -> io::Result<Relay> {
        let relay = Relay {
            cuts: Arc::default(),
            clients: Arc::default(),
        };
        for _ in 0..instances {
            let instance = Instance::new(name, instances)?;
            let (cuts, clients) = (relay.cuts.clone(), relay.clients.clone());
            std::thread::spawn(move || {
                while instance.accept().is_ok() {
                    clients.fetch_add(1, Ordering::SeqCst);
                    let cut = cuts.load(Ordering::SeqCst);
                    if let Ok(true) = serve(&instance, to, || cuts.load(Ordering::SeqCst) != cut) {
                        instance.flush();
                    }
                    instance.disconnect();
                }
            });
        }
        Ok(relay)
    }

    /// Throws out all clients there are.
    pub fn cut(&self) {
        self.cuts.fetch_add(1, Ordering::SeqCst);
    }

    /// The clients there have been.
    pub fn clients(&self) -> u32 {
        self.clients.load(Ordering::SeqCst)
    }
}

/// Moves bytes until one end closes (`true`) or the pipe is to be cut (`false`). It polls: a
/// blocking pipe can't be read and written at a time.
fn serve(pipe: &Instance, to: SocketAddr, cut: impl Fn() -> bool) -> io::Result<bool> {
    let tcp = TcpStream::connect(to)?;
    tcp.set_nodelay(true)?;
    let mut buf = [0; 16 << 10];
    while !cut() {
        let mut idle = true;
        match pipe.readable() {
            Ok(0) => {}
            Ok(_) => {
                let n = pipe.read(&mut buf)?;
                tcp.set_nonblocking(false)?;
                (&tcp).write_all(&buf[..n])?;
                idle = false;
            }
            // The client has closed it.
            Err(_) => return Ok(true),
        }
        tcp.set_nonblocking(true)?;
        match (&tcp).read(&mut buf) {
            Ok(0) => return Ok(true),
            Ok(n) => {
                pipe.write_all(&buf[..n])?;
                idle = false;
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(e),
        }
        if idle {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(false)
}
