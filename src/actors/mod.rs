//! The shell: every component is an actix actor with typed messages, and none shares a lock with another.
//!
//! Asks follow one direction; everything upward is a broadcast:
//!
//! ```text
//! HTTP ──▶ Tasks ──▶ Scheduler ──▶ WorkerRegistry ──▶ Verifier
//!            │           │              │  ▲                                 Archivist ──▶ PostgreSQL (Tasks reads there, too)
//!            │           │              │  └── Session ──▶ ProverPool      (the worker's side; over gRPC in a cluster)
//!            └───────────┴──────────────┴─────▶ RaftNode ◀── KeyKeeper       ClusterDesk (operators, asks Raft itself)
//!                                                  │
//!                    LeadershipChanged, Committed ─┘ broadcast to Tasks, Scheduler, WorkerRegistry, KeyKeeper, Archivist
//! ```
//!
//! A registry's order to a session is a push into the session's bounded queue, never an ask.
//!
//! Decisions are the ledger's (`crate::ledger`). What an actor believes, of leadership above all, saves work and no more.

pub mod archivist;
pub mod ask;
pub mod clock;
pub mod cluster_desk;
pub mod cpu_pool;
pub mod disk_room;
pub mod events;
pub mod guardian;
pub mod key_keeper;
pub mod key_spread;
pub mod prover_pool;
pub mod raft_node;
pub mod scheduler;
pub mod session;
pub mod tasks;
pub mod verifier;
pub mod worker_registry;
