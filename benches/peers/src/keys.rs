//! Key files: made once for each circuit, read by every prover's process.
//!
//! Owns the folder. A file's name carries the digest of the circuit's constraints, so that a changed circuit gets new
//! keys. bellman's form serves both of its curves, bellperson and zkpnet; arkworks has a form of its own. Nothing here
//! is fit for use: the files are taken as they are, unchecked, and every proof is verified anyway.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use ark_bls12_381::Bls12_381;
use ark_groth16::{Groth16, ProvingKey};
use ark_serialize::{CanonicalDeserialize, CanonicalSerialize};
use bellman::groth16::{Parameters, generate_random_parameters};
use pairing::MultiMillerLoop;
use rand_core::OsRng;

use crate::circuits::{Witness, Workload};
use crate::provers::Replay;

/// The folder of the key files.
pub struct Keys {
    folder: PathBuf,
}

impl Keys {
    /// The folder at this path, which need not exist yet.
    pub fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Makes the keys that are missing, with all processors.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn make(&self, workload: Workload) -> anyhow::Result<()> {
        fs::create_dir_all(&self.folder).with_context(|| format!("cannot make {}", self.folder.display()))?;
        let path = self.bellman_path(workload)?;
        if !path.exists() {
            eprintln!("making {}", path.display());
            let blank = workload.circuit(Witness::Blank)?;
            let parameters = generate_random_parameters::<blstrs::Bls12, _, _>(blank, &mut OsRng)?;
            write(&path, |file| Ok(parameters.write(file)?))?;
        }
        let path = self.arkworks_path(workload)?;
        if !path.exists() {
            eprintln!("making {}", path.display());
            let circuit = Replay::of(workload)?;
            let key = Groth16::<Bls12_381>::generate_random_parameters_with_reduction(&circuit, &mut OsRng)?;
            write(&path, |file| Ok(key.serialize_uncompressed(file)?))?;
        }
        Ok(())
    }

    /// The key in bellman's form, over either curve.
    ///
    /// # Errors
    /// It was not made, or cannot be read.
    pub fn bellman<E: MultiMillerLoop>(&self, workload: Workload) -> anyhow::Result<Parameters<E>> {
        let path = self.bellman_path(workload)?;
        Parameters::read(open(&path)?, false).with_context(|| format!("cannot read {}", path.display()))
    }

    /// The key in arkworks' form.
    ///
    /// # Errors
    /// It was not made, or cannot be read.
    pub fn arkworks(&self, workload: Workload) -> anyhow::Result<ProvingKey<Bls12_381>> {
        let path = self.arkworks_path(workload)?;
        ProvingKey::deserialize_uncompressed_unchecked(open(&path)?)
            .with_context(|| format!("cannot read {}", path.display()))
    }

    /// Where the key in bellman's form is.
    ///
    /// # Errors
    /// The circuit cannot be measured.
    pub fn bellman_path(&self, workload: Workload) -> anyhow::Result<PathBuf> {
        self.path(workload, "bellman")
    }

    fn arkworks_path(&self, workload: Workload) -> anyhow::Result<PathBuf> {
        self.path(workload, "arkworks")
    }

    fn path(&self, workload: Workload, form: &str) -> anyhow::Result<PathBuf> {
        let digest = workload.shape()?.digest.to_string();
        Ok(self.folder.join(format!("{}-{}.{form}", workload.name(), &digest[..16])))
    }
}

/// A reader of a key file; buffered, because keys are read point by point.
pub fn open(path: &Path) -> anyhow::Result<BufReader<File>> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    Ok(BufReader::with_capacity(1 << 20, file))
}

/// Gives a file its name only when it is whole.
fn write(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let unfinished = path.with_extension("unfinished");
    let file = File::create(&unfinished).with_context(|| format!("cannot make {}", unfinished.display()))?;
    let mut file = BufWriter::with_capacity(1 << 20, file);
    fill(&mut file)?;
    file.flush()?;
    fs::rename(&unfinished, path).with_context(|| format!("cannot name {}", path.display()))
}
