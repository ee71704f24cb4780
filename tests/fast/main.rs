//! What needs no server but those inside this process, no privileges and little time.

mod corpus;
mod cut;
mod properties;
mod protocol;
