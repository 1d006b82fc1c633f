//! Proving and verifying keys.
//!
//! Owns key generation, the byte form of a key pair, and its identity: a key is named by the BLAKE3 digest of its
//! bytes and bound to the digest of the constraints that it is for. Refuses a key for other constraints than this
//! version's, whatever the circuit's name.
//!
//! A key made here is labelled [`KeyOrigin::Dev`]: one machine knew the toxic values, and whoever knows them can
//! forge. They and all that is computed from them are wiped; copies that the compiler makes in registers and on the
//! stack are out of reach, so wiping narrows the window and does not close it. Only a ceremony of several parties would.

mod bundle;
mod checked;
mod store;

use std::fmt;
use std::io::{self, Write};
use std::sync::OnceLock;
use std::time::Duration;

use bellman::SynthesisError;
use bellman::groth16::Parameters;
use blstrs::{Bls12, G1Projective, G2Projective};
use group::Group;
use rand_core::{CryptoRng, OsRng, RngCore};
use serde::{Deserialize, Serialize};

pub use self::bundle::{BUNDLE_BYTES_MAX, check_bundle};
pub use self::checked::CheckedProof;
pub use self::store::{KeyError, KeyManifest, KeyStore};
use super::circuits::catalog::CircuitSpec;
use super::circuits::{AnyCircuit, CircuitInput};
use super::digest::Digest32;
use super::field::Bytes32;
use super::groth16::{
    self, FastKey, KeygenProgress, PhaseTimes, PrepareError, ProofBytes, ProveError, Prover, Stop,
    ToxicValues, VerifyError, VerifyingKeyError,
};
use super::memory::MemoryBound;
use crate::planted::{Defect, is_planted};

/// Who made a key, and so how far it can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyOrigin {
    /// One machine's randomness. Fine to try things out; not for anything that must not be forged.
    Dev,
}

impl KeyOrigin {
    /// The label that is shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            KeyOrigin::Dev => "dev",
        }
    }
}

/// A verifying key: its bytes, their digest, and the form that verifies.
pub struct VerifyingKey {
    bytes: Vec<u8>,
    digest: Digest32,
    prepared: FastKey,
}

impl VerifyingKey {
    /// Reads a key in bellman's byte form (uncompressed points, big-endian count of `ic` points).
    ///
    /// # Errors
    /// A point is invalid, or the length is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<VerifyingKey, VerifyingKeyError> {
        let prepared = FastKey::from_bytes(bytes)?;
        Ok(VerifyingKey { bytes: bytes.to_vec(), digest: Digest32::of(bytes), prepared })
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// BLAKE3 of the bytes; the key's name.
    pub fn digest(&self) -> Digest32 {
        self.digest
    }

    /// Number of public inputs.
    pub fn public_inputs(&self) -> usize {
        self.prepared.public_inputs()
    }

    /// Whether the proof holds for these public inputs. A millisecond or two of pairing.
    ///
    /// # Errors
    /// The proof or an input cannot be decoded, or their number is not the key's.
    pub fn verify(&self, proof: &ProofBytes, public_inputs: &[Bytes32]) -> Result<bool, VerifyError> {
        self.prepared.verify(proof, public_inputs)
    }

    /// Whether each proof holds for the public inputs beside it: what [`VerifyingKey::verify`] says of it, in less time
    /// for many. A false proof passes with probability 2^-128, by randomness from the operating system.
    pub fn verify_batch(&self, proofs: &[(ProofBytes, Vec<Bytes32>)]) -> Vec<Result<bool, VerifyError>> {
        self.prepared.verify_batch(proofs, &mut OsRng)
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({})", self.digest)
    }
}

/// A proof that was made and checked, and what it took by the caller's clock.
pub struct MadeProof {
    /// The proof.
    pub proof: CheckedProof,
    /// The phases of making it; checking it is not among them.
    pub times: PhaseTimes,
}

/// A proving key in memory, with its verifying key. Four to five times the file once it is ready for proofs: share it in an `Arc`.
pub struct ProvingKey {
    circuit: &'static CircuitSpec,
    origin: KeyOrigin,
    parameters: Parameters<Bls12>,
    digest: Digest32,
    bytes_len: u64,
    verifying_key: VerifyingKey,
    /// Made by the first proof: who only keeps keys or hands them on has no use for it.
    prover: OnceLock<Prover>,
}

impl ProvingKey {
    /// Makes a key pair for a circuit, labelled [`KeyOrigin::Dev`]. A second of work for the deep circuits, on the threads
    /// of the caller's rayon pool, or of the process's where the caller is in none.
    ///
    /// # Errors
    /// The circuit or the randomness is one that no key can be made of.
    pub fn generate(
        circuit: &'static CircuitSpec,
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<ProvingKey, KeyError> {
        Self::generate_with(circuit, rng, &KeygenProgress::default())
    }

    /// As [`ProvingKey::generate`], telling how far it is.
    ///
    /// # Errors
    /// See there.
    pub fn generate_with(
        circuit: &'static CircuitSpec,
        rng: &mut (impl RngCore + CryptoRng),
        progress: &KeygenProgress,
    ) -> Result<ProvingKey, KeyError> {
        let generators = (G1Projective::generator(), G2Projective::generator());
        let toxic = ToxicValues::random(rng);
        let made = groth16::generate(AnyCircuit::blank(circuit), generators, &toxic, progress);
        drop(toxic);
        let generated = |source| KeyError::Generate { circuit: circuit.name, source };
        ProvingKey::new(circuit, KeyOrigin::Dev, made.map_err(generated)?)
            .map_err(|source| generated(SynthesisError::IoError(source)))
    }

    fn new(
        circuit: &'static CircuitSpec,
        origin: KeyOrigin,
        parameters: Parameters<Bls12>,
    ) -> io::Result<ProvingKey> {
        let mut vk_bytes = Vec::new();
        parameters.vk.write(&mut vk_bytes)?;
        let verifying_key = VerifyingKey::from_bytes(&vk_bytes).map_err(io::Error::other)?;
        let mut hash = blake3::Hasher::new();
        parameters.write(&mut hash)?;
        let (digest, bytes_len) = (Digest32::new(*hash.finalize().as_bytes()), hash.count());
        let prover = OnceLock::new();
        Ok(ProvingKey { circuit, origin, parameters, digest, bytes_len, verifying_key, prover })
    }

    /// Reads the byte form of a key pair whose digest the caller has checked.
    fn parse(
        circuit: &'static CircuitSpec,
        origin: KeyOrigin,
        bytes: &[u8],
        points: PointChecks,
    ) -> io::Result<ProvingKey> {
        let mut rest = bytes;
        let parameters = Parameters::read(&mut rest, points == PointChecks::Full)?;
        if !rest.is_empty() {
            return Err(io::Error::other(format!("{} bytes are left over", rest.len())));
        }
        check_sizes(circuit, &parameters)?;
        ProvingKey::new(circuit, origin, parameters)
    }

    /// The circuit that the key is for.
    pub fn circuit(&self) -> &'static CircuitSpec {
        self.circuit
    }

    /// Who made the key.
    pub fn origin(&self) -> KeyOrigin {
        self.origin
    }

    /// BLAKE3 of the byte form; the key's name.
    pub fn digest(&self) -> Digest32 {
        self.digest
    }

    /// The length of the byte form; about what the key takes in memory before its first proof.
    pub fn bytes_len(&self) -> u64 {
        self.bytes_len
    }

    /// The other half of the pair.
    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.verifying_key
    }

    /// What a store notes beside the key, and what a ledger registers.
    pub fn manifest(&self) -> KeyManifest {
        KeyManifest::of(self)
    }

    /// Writes the byte form, which begins with the verifying key's.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write(&self, writer: impl Write) -> io::Result<()> {
        self.parameters.write(writer)
    }

    /// What the key takes in memory: some four times its bytes once it was made ready for proofs, since the points and their images
    /// are kept beside it.
    pub fn memory_bytes(&self) -> u64 {
        self.bytes_len + self.prover.get().map_or(0, Prover::key_bytes)
    }

    /// Computes multiples of the key's points, of `bytes_max` at most, which make later proofs cheaper. Blocks for as long as
    /// some tens of proofs take, on the rayon pool that it is called in; proofs go on beside it.
    ///
    /// # Errors
    /// The key is not one of its circuit's.
    pub fn make_tables(&self, bytes_max: u64) -> Result<(), PrepareError> {
        self.make_tables_in_pieces(bytes_max, &|| {})
    }

    /// As [`ProvingKey::make_tables`], and calls `pause` after each few milliseconds of a thread's work.
    ///
    /// # Errors
    /// As there.
    pub fn make_tables_in_pieces(
        &self,
        bytes_max: u64,
        pause: &(dyn Fn() + Sync),
    ) -> Result<(), PrepareError> {
        self.prover()?.make_tables_in_pieces(&self.parameters, bytes_max, pause);
        Ok(())
    }

    /// Bytes of the tables that would be made within `bytes_max`; none for a key that is not ready for proofs.
    pub fn tables_bytes_for(&self, bytes_max: u64) -> u64 {
        self.prover.get().map_or(0, |prover| prover.tables_bytes_for(bytes_max))
    }

    /// Lets go of the tables.
    pub fn drop_tables(&self) {
        if let Some(prover) = self.prover.get() {
            prover.drop_tables();
        }
    }

    /// What the tables take in memory.
    pub fn tables_bytes(&self) -> u64 {
        self.prover.get().map_or(0, Prover::tables_bytes)
    }

    /// The key made ready for proofs. The first call blocks for about the time of a proof.
    ///
    /// # Errors
    /// The key is not one of its circuit's.
    pub fn prover(&self) -> Result<&Prover, PrepareError> {
        if let Some(ready) = self.prover.get() {
            return Ok(ready);
        }
        // Whoever comes in the meantime does the same again; one of the results stays.
        let made = Prover::new(AnyCircuit::blank(self.circuit), &self.parameters)?;
        Ok(self.prover.get_or_init(|| made))
    }

    /// Proves that the input satisfies the circuit, with randomness from the operating system.
    ///
    /// As [`ProvingKey::prove_until`], and nobody stops it.
    ///
    /// # Errors
    /// As there.
    pub fn prove(&self, input: &CircuitInput) -> Result<ProofBytes, ProveError> {
        self.prove_until(input, &MemoryBound::ANY, &Stop::new(), &|| Duration::ZERO)
            .map(|made| *made.proof.proof())
    }

    /// Proves that the input satisfies the circuit, with randomness from the operating system and in the memory that
    /// [`Prover::proof_bound`] told, and verifies the proof. `clock` gives any moment's distance from one fixed moment; this
    /// module reads none itself.
    ///
    /// Blocks, and uses all threads of the rayon pool that it is called in; outside of one, those of the process's.
    ///
    /// # Errors
    /// The input is not one of the circuit's, or breaks a constraint; somebody wished an end; or the proof came out
    /// false, which would be a fault of this machine or program: such a proof is never given out.
    pub fn prove_until(
        &self,
        input: &CircuitInput,
        within: &MemoryBound,
        stop: &Stop,
        clock: &(dyn Fn() -> Duration + Sync),
    ) -> Result<MadeProof, ProveError> {
        let circuit = AnyCircuit::with_input(self.circuit, input)?;
        let proven = self.prover()?.prove_within(circuit, &mut OsRng, within, stop, clock)?;
        let proof = ProofBytes::from_proof(&proven.proof)?;
        let public_inputs: Vec<Bytes32> = proven.public_inputs.iter().map(Bytes32::from_scalar).collect();
        let made_at = clock();
        match self.verifying_key.verify(&proof, &public_inputs) {
            Ok(holds) if holds || is_planted(Defect::UncheckedProof) => {
                let took = clock().saturating_sub(made_at);
                let proof = CheckedProof::new(proof, self.verifying_key.digest(), public_inputs, took);
                Ok(MadeProof { proof, times: proven.times })
            }
            Ok(_) | Err(_) => Err(ProveError::WrongProof),
        }
    }
}

impl fmt::Debug for ProvingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProvingKey({} {})", self.circuit.name, self.digest)
    }
}

/// Whether every point of a proving key is checked to lie in its subgroup when the key is read.
///
/// That takes seconds for the deep circuits, and finds nothing in bytes that hash to a digest which was given to a
/// key made or checked by us. So it is done once, when a key comes from somewhere else, and not at every start.
/// The verifying key's points are checked always. The prover's sums rely on it: what they take for multiples of points
/// are multiples in the subgroups alone (`msm/endomorphism.rs`).
#[derive(Clone, Copy, PartialEq, Eq)]
enum PointChecks {
    Full,
    AlreadyDone,
}

/// Refuses a key whose queries do not fit the circuit: bellman's prover would only notice half-way, or never.
fn check_sizes(circuit: &CircuitSpec, parameters: &Parameters<Bls12>) -> io::Result<()> {
    let shape = circuit.shape();
    // bellman adds a constraint for each public input and one for the constant, and pads to a power of two.
    let domain = (shape.constraints + shape.public_inputs + 1).next_power_of_two();
    let found = [parameters.h.len(), parameters.l.len(), parameters.vk.ic.len()].map(|len| len as u64);
    let expected = [domain - 1, shape.private_variables, shape.public_inputs + 1];
    if found != expected {
        let name = circuit.name;
        return Err(io::Error::other(format!("the key's sizes {found:?} are not {name}'s {expected:?}")));
    }
    Ok(())
}

#[cfg(test)]
#[path = "tests.rs"]
pub(crate) mod tests;
