//! The zkpnet binary.
fn main() {}
