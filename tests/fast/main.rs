//! What needs no server, no privileges and no time.

mod corpus;
mod properties;
