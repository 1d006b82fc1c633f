//! Schedules that Raft's paper allows and survives. Each test passes when little_raft 0.2.0 does not: when the defect is there.
//!
//! `control` runs the same harness without faults, and there the library does what it should.

mod control;
mod elections;
mod persistence;
mod snapshots;
mod terms;
