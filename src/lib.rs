//! zkpnet.
