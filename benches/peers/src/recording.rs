//! A constraint system written down: its rows and a satisfying assignment, from any bellman circuit.
//!
//! Provers that do not speak bellman's traits are given the recording to replay, so that all prove the same rows over
//! the same assignment. A replay computes no witness and clones combinations that are ready: it costs such a prover less
//! than a circuit of its own would, and so flatters it.

use anyhow::{Context, ensure};
use bellman::{Circuit, ConstraintSystem, Index, LinearCombination, SynthesisError, Variable};
use ff::PrimeField;

/// A variable of the recorded system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// The constant 1 is number 0, the public inputs follow.
    Input(u32),
    /// A private variable.
    Aux(u32),
}

/// Rows `a · b = c` and what is assigned, with coefficients of type `F` and variables of type `W`.
pub struct Recording<F, W = Wire> {
    /// The constant 1 and the public inputs.
    pub inputs: Vec<F>,
    /// The private variables.
    pub aux: Vec<F>,
    /// All combinations one after the other, in the order of the rows: a, b, c.
    terms: Vec<(F, W)>,
    /// Where each of them ends in `terms`.
    ends: Vec<[usize; 3]>,
}

/// One row: the combinations a, b and c.
pub type Row<'a, F, W> = [&'a [(F, W)]; 3];

impl<F, W> Recording<F, W> {
    /// The rows in order.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_, F, W>> {
        let begins = std::iter::once(0).chain(self.ends.iter().map(|ends| ends[2]));
        begins
            .zip(&self.ends)
            .map(|(begin, &[a, b, c])| [&self.terms[begin..a], &self.terms[a..b], &self.terms[b..c]])
    }

    /// The same rows in another field's form and with other names for the variables.
    pub fn map<G, V>(&self, element: impl Fn(&F) -> G, wire: impl Fn(&W) -> V) -> Recording<G, V> {
        Recording {
            inputs: self.inputs.iter().map(&element).collect(),
            aux: self.aux.iter().map(&element).collect(),
            terms: self.terms.iter().map(|(coefficient, w)| (element(coefficient), wire(w))).collect(),
            ends: self.ends.clone(),
        }
    }
}

impl<F: PrimeField> Recording<F> {
    /// Records a circuit that knows its witness.
    ///
    /// # Errors
    /// It does not know it, or the witness breaks a row.
    pub fn of(circuit: impl Circuit<F>) -> anyhow::Result<Self> {
        let mut recorder = Recorder { recording: Self::new(), rows_too: true };
        circuit.synthesize(&mut recorder).context("the circuit cannot be recorded")?;
        let recording = recorder.recording;
        let broken = recording
            .rows()
            .position(|[a, b, c]| recording.value(a) * recording.value(b) != recording.value(c));
        ensure!(broken.is_none(), "the witness breaks row {}", broken.unwrap_or_default());
        Ok(recording)
    }

    /// The public inputs alone, without the constant 1; nothing else is kept in memory meanwhile.
    ///
    /// # Errors
    /// The circuit does not know its witness.
    pub fn public_inputs(circuit: impl Circuit<F>) -> anyhow::Result<Vec<F>> {
        let mut recorder = Recorder { recording: Self::new(), rows_too: false };
        circuit.synthesize(&mut recorder).context("the circuit has no public inputs")?;
        Ok(recorder.recording.inputs.split_off(1))
    }

    fn new() -> Self {
        Self { inputs: vec![F::ONE], aux: Vec::new(), terms: Vec::new(), ends: Vec::new() }
    }

    fn value(&self, terms: &[(F, Wire)]) -> F {
        let value = |wire: &Wire| match *wire {
            Wire::Input(place) => self.inputs[place as usize],
            Wire::Aux(place) => self.aux[place as usize],
        };
        terms.iter().map(|(coefficient, wire)| *coefficient * value(wire)).sum()
    }

    fn push(&mut self, lc: &LinearCombination<F>) -> usize {
        self.terms.extend(lc.as_ref().iter().map(|(variable, coefficient)| {
            let wire = match variable.get_unchecked() {
                Index::Input(place) => Wire::Input(place as u32),
                Index::Aux(place) => Wire::Aux(place as u32),
            };
            (*coefficient, wire)
        }));
        self.terms.len()
    }
}

/// The constraint system that writes a [`Recording`].
struct Recorder<F> {
    recording: Recording<F>,
    /// Without the rows nobody reads the private variables, so they are not even numbered.
    rows_too: bool,
}

impl<F: PrimeField> ConstraintSystem<F> for Recorder<F> {
    type Root = Self;

    fn alloc<V, A, AR>(&mut self, _: A, value: V) -> Result<Variable, SynthesisError>
    where
        V: FnOnce() -> Result<F, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        let place = self.recording.aux.len();
        if self.rows_too {
            self.recording.aux.push(value()?);
        }
        Ok(Variable::new_unchecked(Index::Aux(place)))
    }

    fn alloc_input<V, A, AR>(&mut self, _: A, value: V) -> Result<Variable, SynthesisError>
    where
        V: FnOnce() -> Result<F, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        self.recording.inputs.push(value()?);
        Ok(Variable::new_unchecked(Index::Input(self.recording.inputs.len() - 1)))
    }

    fn enforce<A, AR, LA, LB, LC>(&mut self, _: A, a: LA, b: LB, c: LC)
    where
        A: FnOnce() -> AR,
        AR: Into<String>,
        LA: FnOnce(LinearCombination<F>) -> LinearCombination<F>,
        LB: FnOnce(LinearCombination<F>) -> LinearCombination<F>,
        LC: FnOnce(LinearCombination<F>) -> LinearCombination<F>,
    {
        if self.rows_too {
            let a = self.recording.push(&a(LinearCombination::zero()));
            let b = self.recording.push(&b(LinearCombination::zero()));
            let c = self.recording.push(&c(LinearCombination::zero()));
            self.recording.ends.push([a, b, c]);
        }
    }

    fn push_namespace<NR, N>(&mut self, _: N)
    where
        NR: Into<String>,
        N: FnOnce() -> NR,
    {
    }

    fn pop_namespace(&mut self) {}

    fn get_root(&mut self) -> &mut Self::Root {
        self
    }
}
