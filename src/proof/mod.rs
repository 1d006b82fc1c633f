//! Proofs: encodings, hashes, Merkle trees, circuits, the Groth16 prover and verifier, and key material.
//!
//! Owns everything that is mathematics on bytes, and the folder that keys live in. Refuses to know about tasks,
//! networks and clocks: nothing here awaits, and nothing reads the time. Every call blocks the thread that makes
//! it, so callers give it a thread of their own.
//!
//! In reading order: [`field`] (canonical encodings), [`poseidon`] (the hash), [`merkle`] (trees of it),
//! [`circuits`] (what can be proved), [`groth16`] (prove and verify), [`keys`] (proving and verifying keys).
//! `docs/proofs.md` tells what a proof says and what it does not.

mod arith;
pub mod circuits;
pub mod digest;
pub mod field;
pub mod groth16;
pub mod keys;
mod memory;
pub mod merkle;
mod msm;
pub mod poseidon;
mod wiped;

pub use circuits::catalog::{self, CircuitKind, CircuitSpec};
pub use circuits::{CircuitInput, InputError, MerkleWitness};
pub use digest::{Digest32, DigestError};
pub use field::{Bytes32, HexError, NotCanonical};
pub use groth16::{
    PhaseTimes, ProofBytes, ProofFormatError, ProveError, Prover, Stop, VerifyError, VerifyingKeyError,
    verify_independently,
};
pub use keys::{
    BUNDLE_BYTES_MAX, CheckedProof, KeyError, KeyManifest, KeyOrigin, KeyStore, MadeProof, ProvingKey,
    VerifyingKey, check_bundle,
};
pub use memory::MemoryBound;
pub use merkle::{MerkleError, MerkleTree};
