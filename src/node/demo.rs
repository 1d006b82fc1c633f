//! `zkpnet demo`.
