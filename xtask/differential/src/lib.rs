//! The differential test of mysql_mux: random programs of statements for many handles run over the
//! handles of a [`mysql_mux::Mux`] and over dedicated connections of the `mysql` crate, and what the
//! client sees must be the same.
//!
//! A [`program`] comes out of a seed by way of the [`topics`]. The [`sides`] run it, the [`run`]ner
//! has them do so step by step or at the same time, and [`compare`] says where their [`outcome`]s
//! part. Each handle under test sends in a [`way`] of its own. At a program's end each session is asked for all that it holds ([`final_state`]). A program
//! whose outcomes differ is made short ([`shrink`]).
//!
//! With replicas the side under test has all servers behind each handle, and the other its connections to
//! the primary alone: what a handle sees must be as on one server of its own. A program's tables are
//! then each handle's own, so that nothing has to be waited for, or replicas have all before another
//! handle goes on: a handle's reads know of its own writes, not of others' ([`replicas`]).
//!
//! An honest error of the mux (it lost what only the server held, or got no link) ends the comparison
//! of its handle; it is counted, and fails a strict run. See [`sides::mux::is_honest`].

pub mod compare;
pub mod final_state;
pub mod outcome;
pub mod program;
pub mod replicas;
pub mod run;
pub mod server;
pub mod shrink;
pub mod sides;
pub mod template;
pub mod topics;
pub mod way;
