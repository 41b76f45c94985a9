//! What client and server agree on for a connection's life.
//!
//! Source: <https://dev.mysql.com/doc/dev/mysql-server/latest/group__group__cs__capabilities__flags.html>

use mysql_common::constants::CapabilityFlags as C;

use crate::{error::ConnectCause, opts::target::Fixed};

/// The flags to answer the greeting with.
///
/// # Errors
/// Where the options ask for what the server doesn't offer: nothing is left out silently.
pub(crate) fn negotiate(
    server: C,
    fixed: &Fixed,
    want_tls: bool,
    with_db: bool,
    local_files: bool,
) -> Result<C, ConnectCause> {
    let required = C::CLIENT_PROTOCOL_41 | C::CLIENT_SECURE_CONNECTION;
    if !server.contains(required) {
        return Err(ConnectCause::Unsupported(
            "the server speaks a protocol older than MySQL 4.1's, which is not supported".into(),
        ));
    }
    let mut ours = required
        | C::CLIENT_LONG_PASSWORD
        | C::CLIENT_TRANSACTIONS
        | (server
            & (C::CLIENT_LONG_FLAG
                | C::CLIENT_MULTI_RESULTS
                | C::CLIENT_PS_MULTI_RESULTS
                | C::CLIENT_PLUGIN_AUTH
                | C::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA
                | C::CLIENT_SESSION_TRACK
                | C::CLIENT_DEPRECATE_EOF
                | C::MULTI_FACTOR_AUTHENTICATION));
    let mut want = |wanted: bool, flag: C, what: &str| match (wanted, server.contains(flag)) {
        (false, _) => Ok(()),
        (true, true) => {
            ours |= flag;
            Ok(())
        }
        (true, false) => Err(ConnectCause::Unsupported(format!(
            "the server does not offer {what}"
        ))),
    };
    want(
        want_tls,
        C::CLIENT_SSL,
        "TLS, which the options require; nothing was sent in the clear",
    )?;
    want(
        fixed.compress.is_some(),
        C::CLIENT_COMPRESS,
        "zlib compression (compress)",
    )?;
    want(
        fixed.found_rows,
        C::CLIENT_FOUND_ROWS,
        "CLIENT_FOUND_ROWS (found_rows)",
    )?;
    want(
        fixed.ignore_space,
        C::CLIENT_IGNORE_SPACE,
        "CLIENT_IGNORE_SPACE (ignore_space)",
    )?;
    want(
        fixed.multi_statements,
        C::CLIENT_MULTI_STATEMENTS,
        "several statements in one query (multi_statements)",
    )?;
    want(
        fixed.no_schema,
        C::CLIENT_NO_SCHEMA,
        "CLIENT_NO_SCHEMA (no_schema)",
    )?;
    want(with_db, C::CLIENT_CONNECT_WITH_DB, "a schema at login")?;
    // These the server may lack: then there is nothing to be told or sent.
    ours.set(
        C::CLIENT_CONNECT_ATTRS,
        fixed.connect_attrs.is_some() && server.contains(C::CLIENT_CONNECT_ATTRS),
    );
    ours.set(
        C::CLIENT_LOCAL_FILES,
        local_files && server.contains(C::CLIENT_LOCAL_FILES),
    );
    ours.set(C::CLIENT_INTERACTIVE, fixed.interactive);
    Ok(ours)
}
