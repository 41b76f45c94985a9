//! What a handle tells of itself and of its last statement, the same for both faces.

/// Implements it for a handle with a `seat`.
macro_rules! info {
    ($handle:ty, $name:literal) => {
        const _: () = assert!(
            size_of::<$handle>() <= 256,
            "an idle handle costs at most 256 bytes"
        );

        impl std::fmt::Debug for $handle {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct($name)
                    .field("server", &self.seat.opts().target().endpoint.to_string())
                    .field("user", &self.seat.opts().get_user())
                    .field("isolation", &self.seat.opts().get_isolation())
                    .field("pin", &self.seat.pin())
                    .finish_non_exhaustive()
            }
        }

        impl $handle {
            /// What answers a server that asks for a local file; replaces the options' handler.
            pub fn set_local_infile_handler(
                &mut self,
                handler: Option<crate::opts::LocalInfileHandler>,
            ) {
                self.seat.set_local_infile_handler(handler);
            }

            /// Which of several servers the handle's reads go to from here on; see
            /// [`OptsBuilder::backend`](crate::OptsBuilder::backend). One statement says it by a comment in
            /// front of everything else: `/* mux:primary */`, `/* mux:replica */`, `/* mux:any */`.
            pub fn prefer(&mut self, prefer: crate::opts::Prefer) {
                self.seat.prefer(prefer);
            }

            /// The last statement's insert id; 0: none.
            pub fn last_insert_id(&self) -> u64 {
                self.seat.last_ok().last_insert_id
            }

            /// Rows that the last statement affected.
            pub fn affected_rows(&self) -> u64 {
                self.seat.last_ok().affected_rows
            }

            /// Warnings of the last statement.
            pub fn warnings(&self) -> u16 {
                self.seat.last_ok().warnings
            }

            /// What the server says about the last statement for people; empty: nothing.
            pub fn info_ref(&self) -> &[u8] {
                &self.seat.last_ok().info
            }

            /// [`Self::info_ref`] as text; bytes that are no UTF-8 are replaced.
            pub fn info_str(&self) -> std::borrow::Cow<'_, str> {
                String::from_utf8_lossy(self.info_ref())
            }

            /// The session trackers that came with the last statement's OK; none where they were MySQL's
            /// `statement_id` alone, which links have it report for each.
            ///
            /// # Errors
            /// They can't be read.
            pub fn session_state_changes(
                &self,
            ) -> std::io::Result<Vec<mysql_common::packets::SessionStateInfo<'_>>> {
                let mut raw = mysql_common::io::ParseBuf(&self.seat.last_ok().changes);
                let mut changes = Vec::new();
                while !raw.is_empty() {
                    changes.push(raw.parse(())?);
                }
                Ok(changes)
            }

            /// The server's version; MariaDB's is its own, without `5.5.5-`.
            pub fn server_version(&self) -> (u16, u16, u16) {
                self.seat.server().map_or((0, 0, 0), |server| server.parsed)
            }

            /// The server's version as it tells it, with what follows the numbers.
            pub fn server_version_str(&self) -> &str {
                self.seat.server().map_or("", |server| &server.version)
            }

            /// The server is MariaDB.
            pub fn is_mariadb(&self) -> bool {
                self.seat.server().is_some_and(|server| server.mariadb)
            }

            /// The server's id of the connection that ran the last statement; 0 before the first one. The
            /// next statement may run on another.
            pub fn connection_id(&self) -> u32 {
                self.seat.connection_id()
            }

            /// Why the handle keeps a link to itself at the moment, if it does.
            pub fn pin(&self) -> Option<crate::Pin> {
                self.seat.pin()
            }

            /// The options that it was opened with.
            pub fn opts(&self) -> &crate::opts::Opts {
                self.seat.opts()
            }

            /// `NO_BACKSLASH_ESCAPES` is on.
            pub fn no_backslash_escape(&self) -> bool {
                let flag = mysql_common::constants::StatusFlags::SERVER_STATUS_NO_BACKSLASH_ESCAPES;
                self.seat.last_ok().status.contains(flag)
            }
        }
    };
}

pub(super) use info;
