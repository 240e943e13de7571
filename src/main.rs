//! The `offkey` command.
fn main() {}
