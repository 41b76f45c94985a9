//! Prepared statements as the user holds them.

use std::sync::Arc;

use mysql_common::{packets::Column, params::Params, value::Value};

use super::params;
use crate::{error::Result, link::Prepared};

/// A prepared statement. It outlives the link it was prepared on: each link prepares it when it is
/// to run there, in the schema that its names were resolved in.
#[derive(Debug, Clone)]
pub struct Statement {
    pub(super) prepared: Arc<Prepared>,
    pub(super) names: Option<Arc<[Vec<u8>]>>,
}

impl Statement {
    /// The values for its parameters, in their order.
    #[inline]
    pub(super) fn bind(&self, params: Params) -> Result<Vec<Value>> {
        params::bind(
            params,
            self.names.as_deref(),
            usize::from(self.num_params()),
        )
    }

    /// Columns of the result, as they were when it was prepared.
    pub fn columns(&self) -> Arc<[Column]> {
        self.prepared.columns.clone()
    }

    /// What the server says of the parameters.
    pub fn params(&self) -> &[Column] {
        &self.prepared.params
    }

    /// Number of parameters. A name that stands twice counts twice.
    pub fn num_params(&self) -> u16 {
        self.prepared.params.len() as u16
    }

    /// Number of columns of the result.
    pub fn num_columns(&self) -> u16 {
        self.prepared.columns.len() as u16
    }
}
