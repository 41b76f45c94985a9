//! What answers a server that asks for a local file (`LOAD DATA LOCAL INFILE`).

use std::{
    fmt,
    io::{self, Write},
    sync::Arc,
};

use parking_lot::Mutex;

type Run = dyn FnMut(&[u8], &mut LocalInfile<'_>) -> io::Result<()> + Send;

/// A callback that gets the file's name as the server sent it and writes the content.
///
/// Without a handler a server that asks gets nothing, and the statement fails. A handler should
/// check the name: a server may ask for any file, whatever the statement said.
///
/// ```
/// use std::io::Write;
/// use mysql_mux::LocalInfileHandler;
///
/// let handler = LocalInfileHandler::new(|file_name, writer| match file_name {
///     b"numbers" => writer.write_all(b"1\n2\n3\n"),
///     _ => Err(std::io::ErrorKind::PermissionDenied.into()),
/// });
/// ```
#[derive(Clone)]
pub struct LocalInfileHandler(Arc<Mutex<Run>>);

impl LocalInfileHandler {
    /// A handler that runs `f`, by one statement at a time.
    pub fn new<F>(f: F) -> Self
    where
        F: FnMut(&[u8], &mut LocalInfile<'_>) -> io::Result<()> + Send + 'static,
    {
        LocalInfileHandler(Arc::new(Mutex::new(f)))
    }

    pub(crate) fn run(&self, name: &[u8], out: &mut dyn Write) -> io::Result<()> {
        (self.0.lock())(name, &mut LocalInfile(out))
    }
}

impl PartialEq for LocalInfileHandler {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for LocalInfileHandler {}

impl fmt::Debug for LocalInfileHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalInfileHandler")
    }
}

/// Where a handler writes a file's content to.
pub struct LocalInfile<'a>(&'a mut dyn Write);

impl Write for LocalInfile<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl fmt::Debug for LocalInfile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalInfile")
    }
}
