//! Inputs: which circuit takes which, and what they do not show.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

fn witness(leaves: u8, index: u64) -> MerkleWitness {
    let leaves: Vec<Bytes32> = (0..leaves).map(|i| Bytes32::new([i; 32])).collect();
    MerkleWitness::open(&leaves, index).unwrap()
}

#[test]
fn an_opening_holds_the_leaf_at_its_index_and_leads_to_the_trees_root() {
    let leaves: Vec<Bytes32> = (0..5).map(|i| Bytes32::new([i; 32])).collect();
    let root = MerkleTree::new(&leaves).unwrap().root();
    for index in 0..5u8 {
        let witness = witness(5, u64::from(index));
        assert!(witness.leaf == Bytes32::new([index; 32]));
        assert_eq!(witness.path.len(), 3);
        assert!(witness.root().unwrap() == root);
        let input = CircuitInput::MerklePoseidon(witness);
        assert!(input.public_inputs().unwrap() == [root]);
        assert_eq!(input.smallest_circuit().unwrap().name, "merkle-poseidon-4");
    }
    let refused = MerkleWitness::open(&leaves, 5).err();
    assert_eq!(refused, Some(MerkleError::IndexOutOfRange { index: 5, leaves: 5 }));
}

#[test]
fn a_circuit_refuses_a_path_longer_than_itself_and_takes_shorter_ones() {
    let circuit = catalog::find("merkle-poseidon-4").unwrap();
    for len in 0..=4 {
        let witness = MerkleWitness { leaf: Bytes32::ZERO, index: 0, path: vec![Bytes32::ZERO; len] };
        assert_eq!(CircuitInput::MerklePoseidon(witness).check(circuit), Ok(()), "path of {len}");
    }
    let witness = MerkleWitness { leaf: Bytes32::ZERO, index: 0, path: vec![Bytes32::ZERO; 5] };
    let input = CircuitInput::MerklePoseidon(witness);
    let refused = InputError::PathExceedsDepth { len: 5, circuit: "merkle-poseidon-4", depth: 4 };
    assert_eq!(input.check(circuit), Err(refused));
    assert_eq!(AnyCircuit::<blstrs::Scalar>::with_input(circuit, &input).err(), Some(refused));
}

#[test]
fn a_malformed_opening_is_refused_with_the_trees_reason() {
    let circuit = catalog::find("merkle-poseidon-4").unwrap();
    let mut beyond = witness(5, 0);
    beyond.index = 8;
    let beyond = CircuitInput::MerklePoseidon(beyond);
    let refused = InputError::Merkle(MerkleError::IndexBeyondPath { index: 8, len: 3 });
    assert_eq!(beyond.check(circuit), Err(refused));
    assert_eq!(beyond.public_inputs().err(), Some(refused));
    let path = vec![Bytes32::new([0xff; 32])];
    let above = CircuitInput::MerklePoseidon(MerkleWitness { leaf: Bytes32::ZERO, index: 0, path });
    let refused = InputError::Merkle(MerkleError::PathElementNotCanonical { position: 0 });
    assert_eq!(above.check(circuit), Err(refused));
}

#[test]
fn debug_shows_nothing_of_a_witness() {
    let witness = witness(5, 3);
    assert_eq!(format!("{witness:?}"), "MerkleWitness(redacted)");
    assert_eq!(format!("{:?}", CircuitInput::MerklePoseidon(witness)), "MerklePoseidon(redacted)");
}

#[test]
fn an_input_reads_back_from_json_and_from_bincode() {
    let input = CircuitInput::MerklePoseidon(witness(5, 3));
    let json = serde_json::to_string(&input).unwrap();
    assert!(json.starts_with(r#"{"merkle_poseidon":{"leaf":"0x0303"#), "{json}");
    assert!(serde_json::from_str::<CircuitInput>(&json).unwrap() == input);
    let config = bincode::config::standard();
    let binary = bincode::serde::encode_to_vec(&input, config).unwrap();
    let (again, read): (CircuitInput, usize) = bincode::serde::decode_from_slice(&binary, config).unwrap();
    assert!(again == input && read == binary.len());
    let unknown = json.replace("\"index\"", "\"indexes\"");
    assert!(serde_json::from_str::<CircuitInput>(&unknown).is_err());
}

#[test]
fn zeroizing_a_witness_empties_it() {
    let mut witness = witness(5, 3);
    witness.zeroize();
    assert!(witness.leaf == Bytes32::ZERO && witness.index == 0 && witness.path.is_empty());
}
