//! All the work of one partition.

pub mod rulebook;
