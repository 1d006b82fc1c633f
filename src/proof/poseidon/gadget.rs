//! Poseidon as constraints: three for each S-box, none for anything else.
//!
//! Owns the layout: a state element is a linear combination of variables, an S-box turns one into a new variable
//! (`x·x = x2`, `x2·x2 = x4`, `x4·x = x5`), and constants and matrix only rewrite the combinations. The tag is a
//! constant, so its first S-box is one as well: 240 constraints a permutation, and 3 variables each for 80 S-boxes.
//!
//! In the partial rounds elements 1 and 2 pass no S-box, so their combinations grow by a term a round, up to 61
//! terms. Cutting them with fresh variables would cost constraints; instead their coefficients, which depend on the
//! constants alone, are computed once (`PartialRounds`), and read only where somebody asks for the constraints. Their values come
//! from the sparse form of the rounds: a prover wants nothing else, and for it a permutation costs little more than in the clear.

use bellman::{ConstraintSystem, LinearCombination, SynthesisError, Variable};

use super::{Constants, FULL_ROUNDS, PARTIAL_ROUNDS, ProofField, ROUNDS, WIDTH, mix, quintic};

/// Full rounds before the partial ones, and after them.
const HALF: usize = FULL_ROUNDS / 2;

/// Constraints of one permutation with a constant tag.
pub const CONSTRAINTS: usize = 3 * (WIDTH * FULL_ROUNDS + PARTIAL_ROUNDS - 1);

/// What stands in a constraint: a constant and a combination of variables, with its value when a witness is there.
trait Combination<F: ProofField> {
    fn value(&self) -> Option<F>;
    /// The constant, if there is nothing else.
    fn fixed(&self) -> Option<F>;
    fn add_to(&self, one: Variable, lc: LinearCombination<F>) -> LinearCombination<F>;
}

/// A variable alone.
struct Single<F> {
    variable: Variable,
    value: Option<F>,
}

/// Coefficients over the basis of [`PartialRounds`], the constant first.
struct Affine<'a, F> {
    coefficients: &'a [F],
    basis: &'a [Variable],
    value: Option<F>,
}

/// A number in the circuit: a constant, a combination of variables, and, when a witness is there, its value.
///
/// Each variable occurs at most once in `terms`. bellman's generator leaves a variable out of a query when its
/// coefficients cancel, and its prover does not notice, so a repeated variable could desynchronise the two.
#[derive(Clone)]
pub struct Num<F> {
    constant: F,
    terms: Vec<(Variable, F)>,
    value: Option<F>,
}

impl<F: ProofField> Num<F> {
    /// A number that the circuit fixes.
    pub fn constant(constant: F) -> Num<F> {
        Num { constant, terms: Vec::new(), value: Some(constant) }
    }

    /// A variable.
    pub fn variable(variable: Variable, value: Option<F>) -> Num<F> {
        Num { constant: F::ZERO, terms: vec![(variable, F::ONE)], value }
    }

    /// A combination of distinct variables.
    ///
    /// The caller guarantees that no variable is repeated.
    pub fn combination(terms: Vec<(Variable, F)>, value: Option<F>) -> Num<F> {
        Num { constant: F::ZERO, terms, value }
    }

    /// The value, when a witness is there.
    pub fn value(&self) -> Option<F> {
        self.value
    }

    /// `self + factor · other`; both should be short, for the terms are merged one by one.
    #[must_use]
    pub fn plus(&self, factor: F, other: &Num<F>) -> Num<F> {
        let mut sum = self.clone();
        sum.constant += factor * other.constant;
        for &(variable, coefficient) in &other.terms {
            let index = variable.get_unchecked();
            match sum.terms.iter_mut().find(|(known, _)| known.get_unchecked() == index) {
                Some((_, known)) => *known += factor * coefficient,
                None => sum.terms.push((variable, factor * coefficient)),
            }
        }
        sum.terms.retain(|(_, coefficient)| !coefficient.is_zero_vartime());
        sum.value = self.value.zip(other.value).map(|(a, b)| a + factor * b);
        sum
    }

    /// Adds the number to a combination that is being built; `one` is the system's constant variable.
    pub fn add_to(&self, one: Variable, mut lc: LinearCombination<F>) -> LinearCombination<F> {
        if !self.constant.is_zero_vartime() {
            lc = lc + (self.constant, one);
        }
        self.terms.iter().fold(lc, |lc, &(variable, coefficient)| lc + (coefficient, variable))
    }

    /// A new variable bound to `left · right`. One constraint.
    pub fn product<CS: ConstraintSystem<F>>(
        cs: &mut CS,
        name: &'static str,
        left: &Num<F>,
        right: &Num<F>,
    ) -> Result<Num<F>, SynthesisError> {
        product(cs, name, left, right).map(|product| Num::variable(product.variable, product.value))
    }

    /// Requires `left · right = product`. One constraint.
    pub fn enforce_product<CS: ConstraintSystem<F>>(
        cs: &mut CS,
        name: &'static str,
        left: &Num<F>,
        right: &Num<F>,
        product: &Num<F>,
    ) {
        enforce(cs, name, left, right, product);
    }
}

impl<F: ProofField> Combination<F> for Num<F> {
    fn value(&self) -> Option<F> {
        self.value
    }

    fn fixed(&self) -> Option<F> {
        self.terms.is_empty().then_some(self.constant)
    }

    fn add_to(&self, one: Variable, lc: LinearCombination<F>) -> LinearCombination<F> {
        Num::add_to(self, one, lc)
    }
}

impl<F: ProofField> Combination<F> for Single<F> {
    fn value(&self) -> Option<F> {
        self.value
    }

    fn fixed(&self) -> Option<F> {
        None
    }

    fn add_to(&self, _: Variable, lc: LinearCombination<F>) -> LinearCombination<F> {
        lc + self.variable
    }
}

impl<F: ProofField> Combination<F> for Affine<'_, F> {
    fn value(&self) -> Option<F> {
        self.value
    }

    fn fixed(&self) -> Option<F> {
        None
    }

    fn add_to(&self, one: Variable, mut lc: LinearCombination<F>) -> LinearCombination<F> {
        if !self.coefficients[0].is_zero_vartime() {
            lc = lc + (self.coefficients[0], one);
        }
        let terms = self.basis.iter().zip(&self.coefficients[1..]);
        terms.fold(lc, |lc, (variable, coefficient)| lc + (*coefficient, *variable))
    }
}

/// A new variable bound to `left · right`. One constraint.
fn product<F: ProofField, CS: ConstraintSystem<F>>(
    cs: &mut CS,
    name: &'static str,
    left: &impl Combination<F>,
    right: &impl Combination<F>,
) -> Result<Single<F>, SynthesisError> {
    let value = left.value().zip(right.value()).map(|(a, b)| a * b);
    let variable = cs.alloc(|| name, || value.ok_or(SynthesisError::AssignmentMissing))?;
    let product = Single { variable, value };
    enforce(cs, name, left, right, &product);
    Ok(product)
}

/// Requires `left · right = product`. One constraint.
fn enforce<F: ProofField, CS: ConstraintSystem<F>>(
    cs: &mut CS,
    name: &'static str,
    left: &impl Combination<F>,
    right: &impl Combination<F>,
    product: &impl Combination<F>,
) {
    let one = CS::one();
    cs.enforce(|| name, |lc| left.add_to(one, lc), |lc| right.add_to(one, lc), |lc| product.add_to(one, lc));
}

/// Elements of the state at the partial rounds, as affine functions of what the rounds before made.
///
/// The basis is: the constant 1, the outputs of the last full round's three S-boxes, then the output of each
/// partial round's S-box. A vector holds the coefficients of as much of the basis as exists at that point.
#[derive(Debug)]
pub(super) struct PartialRounds<F> {
    /// What enters the S-box of each partial round.
    inputs: Vec<Vec<F>>,
    /// The state that enters the full round after them, that round's constants included.
    output: [Vec<F>; WIDTH],
}

/// Length of the basis before the first partial round.
const BASIS_START: usize = 1 + WIDTH;

impl<F: ProofField> PartialRounds<F> {
    pub(super) fn derive(round_constants: &[[F; WIDTH]; ROUNDS], matrix: &[[F; WIDTH]; WIDTH]) -> Self {
        let first = HALF;
        let unit = |index: usize| {
            let mut vector = vec![F::ZERO; BASIS_START + PARTIAL_ROUNDS];
            vector[index] = F::ONE;
            vector
        };
        let mix_and_add = |state: &[Vec<F>; WIDTH], round: usize| -> [Vec<F>; WIDTH] {
            std::array::from_fn(|i| {
                let mut mixed: Vec<F> = (0..BASIS_START + PARTIAL_ROUNDS)
                    .map(|k| (0..WIDTH).map(|j| matrix[i][j] * state[j][k]).sum())
                    .collect();
                mixed[0] += round_constants[round][i];
                mixed
            })
        };
        let mut state = mix_and_add(&std::array::from_fn(|i| unit(1 + i)), first);
        let mut inputs = Vec::with_capacity(PARTIAL_ROUNDS);
        for partial in 0..PARTIAL_ROUNDS {
            let mut input = std::mem::replace(&mut state[0], unit(BASIS_START + partial));
            input.truncate(BASIS_START + partial);
            inputs.push(input);
            state = mix_and_add(&state, first + partial + 1);
        }
        PartialRounds { inputs, output: state }
    }
}

/// The permutation of `[tag, left, right]`, element 1, with its constraints; see [`super::hash_pair`].
///
/// # Errors
/// Those of the constraint system, a missing witness among them.
pub fn hash_pair<F: ProofField, CS: ConstraintSystem<F>>(
    cs: &mut CS,
    tag: u64,
    left: &Num<F>,
    right: &Num<F>,
) -> Result<Num<F>, SynthesisError> {
    let constants = F::poseidon();
    let one = Num::constant(F::ONE);
    let mut state = [Num::constant(F::from(tag)), left.clone(), right.clone()];
    for (element, constant) in state.iter_mut().zip(&constants.round_constants[0]) {
        *element = element.plus(*constant, &one);
    }
    let outputs = full_rounds(cs, constants, &state, 0)?;
    let (basis, values) = partial_rounds(cs, constants, &outputs)?;
    let state: [Affine<'_, F>; WIDTH] = std::array::from_fn(|i| Affine {
        coefficients: &constants.partial.output[i],
        basis: &basis,
        value: values.map(|values| values[i]),
    });
    let outputs = full_rounds(cs, constants, &state, HALF + PARTIAL_ROUNDS)?;
    // Only element 1 leaves, so only its row of the last matrix is needed.
    Ok(row(&constants.matrix[1], &outputs))
}

/// Half of the full rounds, from a state that already holds the first one's constants, up to the outputs of the
/// last one's S-boxes: what follows them is another's business.
fn full_rounds<F: ProofField, CS: ConstraintSystem<F>>(
    cs: &mut CS,
    constants: &Constants<F>,
    state: &[impl Combination<F>; WIDTH],
    first: usize,
) -> Result<[Num<F>; WIDTH], SynthesisError> {
    let one = Num::constant(F::ONE);
    let mut outputs = sboxes(cs, first, state)?;
    for round in first + 1..first + HALF {
        let [a, b, c] = constants.round_constants[round];
        let rows = &constants.matrix;
        let state = [
            row(&rows[0], &outputs).plus(a, &one),
            row(&rows[1], &outputs).plus(b, &one),
            row(&rows[2], &outputs).plus(c, &one),
        ];
        outputs = sboxes(cs, round, &state)?;
    }
    Ok(outputs)
}

fn sboxes<F: ProofField, CS: ConstraintSystem<F>>(
    cs: &mut CS,
    round: usize,
    [a, b, c]: &[impl Combination<F>; WIDTH],
) -> Result<[Num<F>; WIDTH], SynthesisError> {
    Ok([sbox(cs, round, 0, a)?, sbox(cs, round, 1, b)?, sbox(cs, round, 2, c)?])
}

/// One row of the matrix times the state.
fn row<F: ProofField>(row: &[F; WIDTH], state: &[Num<F>; WIDTH]) -> Num<F> {
    row.iter().zip(state).fold(Num::constant(F::ZERO), |sum, (factor, element)| sum.plus(*factor, element))
}

/// The partial rounds, from the outputs of the S-boxes before them: the basis, and the values of the state that enters the full
/// round after them, that round's constants included.
fn partial_rounds<F: ProofField, CS: ConstraintSystem<F>>(
    cs: &mut CS,
    constants: &Constants<F>,
    outputs: &[Num<F>; WIDTH],
) -> Result<(Vec<Variable>, Option<[F; WIDTH]>), SynthesisError> {
    // The S-boxes of a full round after the first one always made variables, so every element is one term.
    let variable = |output: &Num<F>| match output.terms.first() {
        Some((variable, _)) => Ok(*variable),
        None => Err(SynthesisError::Unsatisfiable),
    };
    let mut basis = Vec::with_capacity(WIDTH + PARTIAL_ROUNDS);
    for output in outputs {
        basis.push(variable(output)?);
    }
    let [a, b, c] = outputs;
    let known = a.value.zip(b.value).zip(c.value);
    let mut values = known.map(|((a, b), c)| mix(&constants.matrix, &[a, b, c]));
    let rounds = constants.sparse.rounds().iter().zip(&constants.partial.inputs);
    for (partial, (round, coefficients)) in rounds.enumerate() {
        let value = values.as_ref().map(|values| round.input(values));
        let input = Affine { coefficients, basis: &basis, value };
        let output = sbox(cs, HALF + partial, 0, &input)?;
        basis.push(variable(&output)?);
        if let (Some(values), Some(output)) = (&mut values, output.value) {
            round.pass(values, output);
        }
    }
    if let Some(values) = &mut values {
        constants.sparse.finish(values);
        let added = &constants.round_constants[HALF + PARTIAL_ROUNDS];
        values.iter_mut().zip(added).for_each(|(value, constant)| *value += constant);
    }
    Ok((basis, values))
}

/// x^5 as a new variable, in three constraints; of a constant, a constant.
fn sbox<F: ProofField, CS: ConstraintSystem<F>>(
    cs: &mut CS,
    round: usize,
    element: usize,
    x: &impl Combination<F>,
) -> Result<Num<F>, SynthesisError> {
    if let Some(constant) = x.fixed() {
        return Ok(Num::constant(quintic(constant)));
    }
    let cs = &mut cs.namespace(|| format!("round {round} element {element}"));
    let x2 = product(cs, "x2", x, x)?;
    let x4 = product(cs, "x4", &x2, &x2)?;
    // x, not x4, stands on the right: variables on the right cost a G2 multiplication each in the prover.
    let x5 = product(cs, "x5", &x4, x)?;
    Ok(Num::variable(x5.variable, x5.value))
}
