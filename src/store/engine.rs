//! store::engine

pub(crate) mod checkpoint;
pub(crate) mod connection;
pub mod damage;
pub(crate) mod error;
pub(crate) mod file;
pub(crate) mod fresh;
pub mod lock;
pub mod replace;
pub(crate) mod row;
pub mod schema;
pub(crate) mod statements;
pub(crate) mod writer;
