//! The provers that are compared, behind one face: ready with key and witness, then one proof for each call.
//!
//! Owns the list of them. What a prover may do before the clock starts is what a service does once for each circuit:
//! load its key and derive from it. The witness is known too, but handed over within the clock in the form that the
//! prover's own interface takes.

mod arkworks;
mod bellman;
mod bellperson;
mod zkpnet;

use ::zkpnet::proof::groth16::Instructions;

use crate::circuits::Workload;
use crate::keys::Keys;

#[cfg(test)]
pub use arkworks::Matrices;
pub use arkworks::Replay;
use zkpnet::Tables;

/// A prover that can be named on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ProverName {
    /// bellman 0.14 over bls12_381 0.8
    #[value(name = "bellman-bls12_381")]
    BellmanBls12_381,
    /// bellman 0.14 over blstrs 0.7
    BellmanBlstrs,
    /// bellperson 0.27
    Bellperson,
    /// ark-groth16 0.6 by its usual entry, which synthesises rows and witness for each proof
    Arkworks,
    /// ark-groth16 0.6, given matrices and whole assignment: it does not even compute a witness
    ArkworksMatrices,
    /// zkpnet
    Zkpnet,
    /// zkpnet with tables of its key's points, of 512 MiB at most
    ZkpnetTables,
    /// zkpnet as it runs where the processor has AVX2 and FMA and no AVX512-IFMA, without tables
    ZkpnetAvx2,
    /// the same with tables
    ZkpnetAvx2Tables,
    /// zkpnet as it runs where the processor has neither, without tables
    ZkpnetPortable,
    /// the same with tables
    ZkpnetPortableTables,
}

/// A prover with its key and its witness.
pub trait Prover {
    /// Makes a proof with fresh randomness and keeps it.
    ///
    /// # Errors
    /// The prover's own.
    fn prove(&mut self) -> anyhow::Result<()>;

    /// Verifies the kept proof for the right public inputs, and refuses it for others.
    ///
    /// # Errors
    /// There is no proof, or it is not what it should be.
    fn check(&self) -> anyhow::Result<()>;
}

impl ProverName {
    /// The name on the command line and in results.
    pub fn name(self) -> String {
        clap::ValueEnum::to_possible_value(&self)
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Loads the key, made before, and gets everything ready.
    ///
    /// # Errors
    /// The key is missing or another circuit's.
    pub fn prepare(self, workload: Workload, keys: &Keys) -> anyhow::Result<Box<dyn Prover>> {
        Ok(match self {
            Self::BellmanBls12_381 => {
                Box::new(bellman::Bellman::<bls12_381::Bls12>::prepare(workload, keys)?)
            }
            Self::BellmanBlstrs => Box::new(bellman::Bellman::<blstrs::Bls12>::prepare(workload, keys)?),
            Self::Bellperson => Box::new(bellperson::Bellperson::prepare(workload, keys)?),
            Self::Arkworks => {
                Box::new(arkworks::Arkworks::prepare(workload, keys, arkworks::Rows::Synthesised)?)
            }
            Self::ArkworksMatrices => {
                Box::new(arkworks::Arkworks::prepare(workload, keys, arkworks::Rows::Cached)?)
            }
            Self::Zkpnet => zkpnet(workload, keys, Instructions::Best, Tables::Without)?,
            Self::ZkpnetTables => zkpnet(workload, keys, Instructions::Best, Tables::With)?,
            Self::ZkpnetAvx2 => zkpnet(workload, keys, Instructions::Avx2, Tables::Without)?,
            Self::ZkpnetAvx2Tables => zkpnet(workload, keys, Instructions::Avx2, Tables::With)?,
            Self::ZkpnetPortable => zkpnet(workload, keys, Instructions::Portable, Tables::Without)?,
            Self::ZkpnetPortableTables => zkpnet(workload, keys, Instructions::Portable, Tables::With)?,
        })
    }
}

fn zkpnet(
    workload: Workload,
    keys: &Keys,
    instructions: Instructions,
    tables: Tables,
) -> anyhow::Result<Box<dyn Prover>> {
    // Elsewhere it would be the prover without vectors, under another name.
    let has_avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    anyhow::ensure!(instructions != Instructions::Avx2 || has_avx2, "this processor lacks AVX2 or FMA");
    Ok(Box::new(zkpnet::Zkpnet::prepare(workload, keys, instructions, tables)?))
}
