//! What is agreed on for a connection's life, from what the server offers and the options ask for.
//!
//! Knows flags; not how they are sent, and not who the user is.
//!
//! Flags: <https://dev.mysql.com/doc/dev/mysql-server/latest/group__group__cs__capabilities__flags.html>

use mysql_common::constants::{CapabilityFlags as Flags, MariadbCapabilities as Extended};

use crate::{error::ConnectCause, opts::target::Fixed};

/// Asked for wherever the server has it.
///
/// Not among them, although offered: `CAN_HANDLE_EXPIRED_PASSWORDS`, which would turn an expired
/// password from an error into a session where every statement fails; `PROGRESS` (MariaDB), which
/// sends packets that answer nothing; `QUERY_ATTRIBUTES` and `OPTIONAL_RESULTSET_METADATA`, which
/// change the layout of packets for things that are not used here.
const WELCOME: Flags = Flags::CLIENT_LONG_PASSWORD
    .union(Flags::CLIENT_LONG_FLAG)
    .union(Flags::CLIENT_TRANSACTIONS)
    .union(Flags::CLIENT_MULTI_RESULTS)
    .union(Flags::CLIENT_PS_MULTI_RESULTS)
    .union(Flags::CLIENT_PLUGIN_AUTH)
    .union(Flags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA)
    .union(Flags::CLIENT_SESSION_TRACK)
    .union(Flags::CLIENT_DEPRECATE_EOF)
    .union(Flags::MULTI_FACTOR_AUTHENTICATION);

/// The flags for the handshake response; an error where the server can't do what was asked for.
pub(crate) fn negotiate(
    server: Flags,
    fixed: &Fixed,
    want_tls: bool,
    with_db: bool,
    local_files: bool,
) -> Result<Flags, ConnectCause> {
    // The layouts of this library, and the only password scramble that is left without plugins.
    let mut flags = Flags::CLIENT_PROTOCOL_41 | Flags::CLIENT_SECURE_CONNECTION;
    if !server.contains(flags) {
        return Err(unsupported(
            "the server is older than MySQL 4.1, whose protocol is needed",
        ));
    }
    // See `extend`.
    flags |= Flags::CLIENT_LONG_PASSWORD | (WELCOME & server);

    // Wanted: without it, something else would happen than what was asked for, silently.
    let wanted = [
        (
            want_tls,
            Flags::CLIENT_SSL,
            "TLS is asked for, and the server doesn't offer it; nothing was sent. Turn TLS on at the \
             server, or off in the options",
        ),
        (
            fixed.compress.is_some(),
            Flags::CLIENT_COMPRESS,
            "compression is asked for, and the server doesn't offer it",
        ),
        (
            with_db,
            Flags::CLIENT_CONNECT_WITH_DB,
            "the server doesn't take a schema while logging in",
        ),
        (
            fixed.found_rows,
            Flags::CLIENT_FOUND_ROWS,
            "client_found_rows is asked for, and the server doesn't offer it",
        ),
        (
            fixed.ignore_space,
            Flags::CLIENT_IGNORE_SPACE,
            "client_ignore_space is asked for, and the server doesn't offer it",
        ),
        (
            fixed.no_schema,
            Flags::CLIENT_NO_SCHEMA,
            "client_no_schema is asked for, and the server doesn't offer it",
        ),
    ];
    for (want, flag, text) in wanted {
        if want {
            if !server.contains(flag) {
                return Err(unsupported(text));
            }
            flags |= flag;
        }
    }

    // Asked for: where it is missing, nothing happens, or the server itself says so later.
    let asked = [
        (fixed.interactive, Flags::CLIENT_INTERACTIVE),
        (fixed.multi_statements, Flags::CLIENT_MULTI_STATEMENTS),
        (local_files, Flags::CLIENT_LOCAL_FILES),
        (fixed.connect_attrs.is_some(), Flags::CLIENT_CONNECT_ATTRS),
    ];
    for (ask, flag) in asked {
        if ask {
            flags |= flag & server;
        }
    }
    Ok(flags)
}

/// MariaDB's extended flags, and the usual ones with them: without `LONG_PASSWORD`, which is
/// `CLIENT_MYSQL` there, the extended ones are looked at. So it is in the server's offer, too.
///
/// Columns that are not sent again are asked for. Not among them: `PROGRESS`, `STMT_BULK_OPERATIONS`
/// and `BULK_UNIT_RESULTS`, which are for packets that are not used here, and `EXTENDED_METADATA`,
/// which changes definitions.
pub(crate) fn extend(server: Flags, offered: Extended, flags: Flags) -> (Flags, Extended) {
    let extended = offered & Extended::MARIADB_CLIENT_CACHE_METADATA;
    let can_be = !server.contains(Flags::CLIENT_LONG_PASSWORD)
        && flags.contains(Flags::CLIENT_DEPRECATE_EOF)
        && !extended.is_empty();
    match can_be {
        true => (flags - Flags::CLIENT_LONG_PASSWORD, extended),
        false => (flags, Extended::empty()),
    }
}

fn unsupported(text: &str) -> ConnectCause {
    ConnectCause::Unsupported(text.to_owned())
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// As the servers offer them: MySQL 9.7.4, and MariaDB 10.11 without TLS.
    pub(in crate::proto) const MYSQL: Flags = Flags::from_bits_truncate(0xdfff_ffff);
    pub(in crate::proto) const MARIADB: Flags = Flags::from_bits_truncate(0x81ff_f7fe);

    pub(in crate::proto) fn fixed() -> Fixed {
        Fixed {
            found_rows: false,
            ignore_space: false,
            interactive: false,
            multi_statements: false,
            no_schema: false,
            compress: None,
            connect_attrs: None,
            max_allowed_packet: None,
            charset: "utf8mb4".into(),
            collation: None,
            track_gtids: false,
            pipelining: Default::default(),
        }
    }

    fn refused(server: Flags, fixed: &Fixed, tls: bool) -> String {
        match negotiate(server, fixed, tls, false, false) {
            Err(ConnectCause::Unsupported(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_not_asked_for_is_not_there() {
        let flags = negotiate(MYSQL, &fixed(), false, false, false).unwrap();
        for never in [
            Flags::CLIENT_SSL,
            Flags::CLIENT_COMPRESS,
            Flags::CLIENT_CONNECT_WITH_DB,
            Flags::CLIENT_FOUND_ROWS,
            Flags::CLIENT_LOCAL_FILES,
            Flags::CLIENT_MULTI_STATEMENTS,
            Flags::CLIENT_INTERACTIVE,
            Flags::CLIENT_IGNORE_SPACE,
            Flags::CLIENT_NO_SCHEMA,
            Flags::CLIENT_CONNECT_ATTRS,
            Flags::CLIENT_CAN_HANDLE_EXPIRED_PASSWORDS,
            Flags::CLIENT_OPTIONAL_RESULTSET_METADATA,
            Flags::CLIENT_PROGRESS_OBSOLETE,
            Flags::CLIENT_QUERY_ATTRIBUTES,
            Flags::CLIENT_ZSTD_COMPRESSION_ALGORITHM,
        ] {
            assert!(!flags.intersects(never), "{never:?}");
        }
        assert!(flags.contains(WELCOME));
    }

    #[test]
    fn only_what_the_server_offers() {
        let flags = negotiate(MARIADB, &fixed(), false, true, true).unwrap();
        assert!(!flags.contains(Flags::MULTI_FACTOR_AUTHENTICATION));
        assert!(flags.contains(
            Flags::CLIENT_DEPRECATE_EOF
                | Flags::CLIENT_SESSION_TRACK
                | Flags::CLIENT_CONNECT_WITH_DB
                | Flags::CLIENT_LOCAL_FILES
                | Flags::CLIENT_LONG_PASSWORD
        ));
        let bare = Flags::CLIENT_PROTOCOL_41 | Flags::CLIENT_SECURE_CONNECTION;
        let flags = negotiate(bare, &fixed(), false, false, true).unwrap();
        assert_eq!(flags, bare | Flags::CLIENT_LONG_PASSWORD);
    }

    #[test]
    fn extended_flags_are_mariadbs_and_only_what_is_used_is_asked_for() {
        let cached = Extended::MARIADB_CLIENT_CACHE_METADATA;
        let flags = |server| negotiate(server, &fixed(), false, false, false).unwrap();
        let (mariadb, mysql) = (flags(MARIADB), flags(MYSQL));
        assert_eq!(
            extend(MARIADB, Extended::all(), mariadb),
            (mariadb - Flags::CLIENT_LONG_PASSWORD, cached)
        );
        for (server, offered, flags) in [
            (MARIADB, Extended::all() - cached, mariadb),
            // What MySQL has there is something else.
            (MYSQL, Extended::all(), mysql),
            (
                MARIADB,
                Extended::all(),
                mariadb - Flags::CLIENT_DEPRECATE_EOF,
            ),
        ] {
            assert_eq!(extend(server, offered, flags), (flags, Extended::empty()));
        }
    }

    #[test]
    fn options_become_flags() {
        let all = Fixed {
            found_rows: true,
            ignore_space: true,
            interactive: true,
            multi_statements: true,
            no_schema: true,
            compress: Some(6),
            connect_attrs: Some(BTreeMap::new()),
            ..fixed()
        };
        let flags = negotiate(MYSQL, &all, true, true, true).unwrap();
        assert!(flags.contains(
            Flags::CLIENT_SSL
                | Flags::CLIENT_COMPRESS
                | Flags::CLIENT_CONNECT_WITH_DB
                | Flags::CLIENT_FOUND_ROWS
                | Flags::CLIENT_LOCAL_FILES
                | Flags::CLIENT_MULTI_STATEMENTS
                | Flags::CLIENT_INTERACTIVE
                | Flags::CLIENT_IGNORE_SPACE
                | Flags::CLIENT_NO_SCHEMA
                | Flags::CLIENT_CONNECT_ATTRS
        ));
    }

    #[test]
    fn tls_is_never_given_up() {
        assert!(refused(MARIADB, &fixed(), true).contains("TLS"));
    }

    #[test]
    fn what_would_go_wrong_silently_is_refused() {
        let without = |flag| MYSQL - flag;
        let compress = Fixed {
            compress: Some(1),
            ..fixed()
        };
        assert!(refused(without(Flags::CLIENT_COMPRESS), &compress, false).contains("compression"));
        let found = Fixed {
            found_rows: true,
            ..fixed()
        };
        assert!(refused(without(Flags::CLIENT_FOUND_ROWS), &found, false).contains("found_rows"));
        assert!(refused(without(Flags::CLIENT_PROTOCOL_41), &fixed(), false).contains("4.1"));
        assert!(refused(without(Flags::CLIENT_SECURE_CONNECTION), &fixed(), false).contains("4.1"));
    }
}
