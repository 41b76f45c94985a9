//! Entry points for `fuzz/`: the parsers of what comes from the network, without a network.
//! Not part of the API.

use mysql_common::{
    constants::{CapabilityFlags, ColumnFlags, ColumnType},
    packets::Column,
};

use crate::{
    opts::Opts,
    proto::{
        command::Command,
        frame::{FrameReader, FrameWriter},
        handshake::{Handshake, Step},
        pipeline::{Event, Pipeline},
        row,
    },
};

/// A server's side of a login, as packets.
pub fn login(data: &[u8]) {
    let Ok(opts) = Opts::from_url("mysql://user:password@localhost/db") else {
        return;
    };
    let mut handshake = Handshake::new(opts.target().clone(), opts.identity().clone(), None, true);
    let mut reader = FrameReader::new(1 << 20);
    reader.buffer().extend_from_slice(data);
    while let Ok(Some(packet)) = reader.next_packet() {
        match handshake.on_packet(&packet.payload) {
            Ok(Step::Wait | Step::Send(_)) => {}
            Ok(Step::StartTls(_) | Step::Done(_)) | Err(_) => return,
        }
    }
}

/// A server's answers to some commands; the first byte chooses the capabilities.
pub fn commands(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else {
        return;
    };
    let mut capabilities = CapabilityFlags::CLIENT_PROTOCOL_41;
    capabilities.set(CapabilityFlags::CLIENT_DEPRECATE_EOF, choice & 1 != 0);
    capabilities.set(CapabilityFlags::CLIENT_SESSION_TRACK, choice & 2 != 0);
    let mut reader = FrameReader::new(1 << 20);
    if choice & 4 != 0 {
        reader.start_compression();
    }
    let mut pipeline = Pipeline::new(capabilities, reader, FrameWriter::default())
        .with_cached_metadata(choice & 8 != 0);
    pipeline.set_max_result(1 << 16);
    for command in [
        Command::Query(b""),
        Command::Prepare(b""),
        Command::Execute(b""),
        Command::Ping,
    ] {
        drop(pipeline.push(command));
    }
    for chunk in data.chunks(usize::from(choice >> 4) + 1) {
        pipeline.buffer().extend_from_slice(chunk);
        loop {
            match pipeline.next_event() {
                Ok(Some(Event::Infile(_))) => pipeline.infile_end(None),
                Ok(Some(Event::Reply(reply))) => drop(reply),
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

/// A row; the first bytes choose its columns.
pub fn rows(data: &[u8]) {
    let Some((&count, data)) = data.split_first() else {
        return;
    };
    let (kinds, payload) = data.split_at(data.len().min(usize::from(count)));
    let columns: Vec<Column> = kinds
        .iter()
        .filter_map(|&kind| ColumnType::try_from(kind).ok())
        .enumerate()
        .map(|(i, kind)| {
            let mut flags = ColumnFlags::empty();
            flags.set(ColumnFlags::UNSIGNED_FLAG, i % 2 == 0);
            Column::new(kind).with_flags(flags)
        })
        .collect();
    for values in [row::text(payload, &columns), row::binary(payload, &columns)] {
        match values {
            Ok(values) => assert_eq!(values.len(), columns.len()),
            Err(e) => drop(e.to_string()),
        }
    }
}
