//! A program that asks for all rows over the socket and throws their bytes away: no client can have them
//! sooner than this.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
};

use crate::{env::Server, wide::ALL};

/// A connection of the user who needs no password.
pub struct Raw {
    stream: UnixStream,
    /// What executes the prepared statement; `None`: the rows are asked for as text.
    execute: Option<Vec<u8>>,
}

/// `CLIENT_PROTOCOL_41` and what there is no result without; and that a set ends with an OK packet.
const CAPABILITIES: u32 = 0x0000_0001
    | 0x0000_0004
    | 0x0000_0008
    | 0x0000_0200
    | 0x0000_2000
    | 0x0000_8000
    | 0x0008_0000
    | 0x0100_0000;

/// The end of a set: `0xfe`, no rows, no id, the status, no warnings.
const END: usize = 7;

impl Raw {
    pub fn connect(server: &Server, binary: bool) -> io::Result<Raw> {
        let mut raw = Raw {
            stream: UnixStream::connect(&server.socket)?,
            execute: None,
        };
        raw.packet()?;
        let mut login = CAPABILITIES.to_le_bytes().to_vec();
        login.extend((1_u32 << 24).to_le_bytes());
        login.push(45); // utf8mb4
        login.extend([0; 23]);
        for word in [&server.root, "", &server.database, "mysql_native_password"] {
            login.extend(word.as_bytes());
            login.push(0);
        }
        raw.send(1, &login)?;
        // A server that would rather have another plugin is told the same: there is no password.
        while let [0xfe, ..] = raw.answer()?[..] {
            raw.send(3, &[])?;
        }
        if binary {
            let prepared = raw.prepare()?;
            raw.execute = Some([&[0x17][..], &prepared, &[0, 1, 0, 0, 0]].concat());
        }
        Ok(raw)
    }

    /// Reads all rows. How many bytes they were.
    pub fn throw_away(&mut self) -> io::Result<usize> {
        match self.execute.clone() {
            Some(execute) => self.send(0, &execute)?,
            None => self.send(0, &[&[0x03], ALL.as_bytes()].concat())?,
        }
        let mut buffer = vec![0; 64 << 10];
        // The last bytes that were read are that many: what a set ends with may come in two pieces.
        let mut last = [0; 4 + END];
        let mut all = 0;
        loop {
            let read = self.stream.read(&mut buffer)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            all += read;
            let known = read.min(last.len());
            last.rotate_left(known);
            let from = last.len() - known;
            last[from..].copy_from_slice(&buffer[read - known..read]);
            if let [7, 0, 0, _, 0xfe, 0, 0, _, _, 0, 0] = last {
                return Ok(all);
            }
        }
    }

    fn prepare(&mut self) -> io::Result<[u8; 4]> {
        self.send(0, &[&[0x16], ALL.as_bytes()].concat())?;
        let answer = self.answer()?;
        let [_, a, b, c, d, low, high, ..] = answer[..] else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        for _column in 0..u16::from_le_bytes([low, high]) {
            self.packet()?;
        }
        Ok([a, b, c, d])
    }

    fn send(&mut self, sequence: u8, payload: &[u8]) -> io::Result<()> {
        let [a, b, c, _] = (payload.len() as u32).to_le_bytes();
        let packet = [&[a, b, c, sequence], payload].concat();
        self.stream.write_all(&packet)
    }

    fn packet(&mut self) -> io::Result<Vec<u8>> {
        let mut head = [0; 4];
        self.stream.read_exact(&mut head)?;
        let [a, b, c, _] = head;
        let mut payload = vec![0; u32::from_le_bytes([a, b, c, 0]) as usize];
        self.stream.read_exact(&mut payload)?;
        Ok(payload)
    }

    /// A packet that is no error of the server's.
    fn answer(&mut self) -> io::Result<Vec<u8>> {
        let payload = self.packet()?;
        match payload.first() {
            Some(0xff) => Err(io::Error::other(
                String::from_utf8_lossy(&payload).into_owned(),
            )),
            _ => Ok(payload),
        }
    }
}
