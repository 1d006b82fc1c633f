//! Encodings: what is read, what is refused, and what errors do not tell.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use ff::{Field, PrimeField};
use proptest::prelude::*;

use super::*;

const MODULUS: &str = "0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001";
const MODULUS_LESS_ONE: &str = "0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000000";

fn parse(text: &str) -> Result<Bytes32, HexError> {
    text.parse()
}

#[test]
fn short_and_odd_texts_are_padded_on_the_left() {
    let mut seven = [0u8; 32];
    seven[31] = 7;
    assert_eq!(parse("0x7"), Ok(Bytes32::new(seven)));
    assert_eq!(parse("0x07"), Ok(Bytes32::new(seven)));
    let mut odd = [0u8; 32];
    odd[30..].copy_from_slice(&[0x0a, 0xbc]);
    assert_eq!(parse("0xabc"), Ok(Bytes32::new(odd)));
    assert_eq!(parse("0xAbC"), Ok(Bytes32::new(odd)));
    assert_eq!(parse(&format!("0x{}", "f".repeat(64))), Ok(Bytes32::new([0xff; 32])));
}

#[test]
fn each_malformed_text_gets_the_error_that_says_why() {
    assert_eq!(parse(""), Err(HexError::MissingPrefix));
    assert_eq!(parse("1234"), Err(HexError::MissingPrefix));
    assert_eq!(parse("0X12"), Err(HexError::MissingPrefix));
    assert_eq!(parse(" 0x12"), Err(HexError::MissingPrefix));
    assert_eq!(parse("0x"), Err(HexError::Empty));
    assert_eq!(parse("0x123..."), Err(HexError::NotADigit { position: 4 }));
    assert_eq!(parse("0x-1"), Err(HexError::NotADigit { position: 1 }));
    assert_eq!(parse("0x1 "), Err(HexError::NotADigit { position: 2 }));
    assert_eq!(parse("0xé"), Err(HexError::NotADigit { position: 1 }));
    assert_eq!(parse(&format!("0x{}", "0".repeat(65))), Err(HexError::TooLong { digits: 65 }));
}

#[test]
fn no_error_repeats_a_leaf() {
    let secret = "5ec2e7";
    for text in [secret.to_owned(), format!("0x{secret}g"), format!("0x{}", secret.repeat(11))] {
        let message = format!("{} {:?}", parse(&text).unwrap_err(), parse(&text).unwrap_err());
        assert!(!message.contains(secret), "{message}");
    }
    for json in
        ["90909", "-90909", "90909.5", "[90909]", "{\"90909\":1}", "\"0x90909z\"", "909090909090909090909"]
    {
        let message = serde_json::from_str::<Bytes32>(json).unwrap_err().to_string();
        assert!(!message.contains("90909"), "{json} gave {message}");
    }
}

#[test]
fn debug_is_redacted_and_display_is_not() {
    let leaf = parse("0x5ec2e7").unwrap();
    assert_eq!(format!("{leaf:?}"), "Bytes32(redacted)");
    assert!(leaf.to_string().ends_with("5ec2e7"));
}

fn modulus_is_refused<F: PrimeField<Repr = [u8; 32]>>() {
    let greatest = parse(MODULUS_LESS_ONE).unwrap();
    assert_eq!(greatest.to_scalar::<F>(), Ok(-F::ONE));
    assert_eq!(Bytes32::from_scalar(&-F::ONE), greatest);
    assert_eq!(parse(MODULUS).unwrap().to_scalar::<F>(), Err(NotCanonical));
    assert_eq!(Bytes32::new([0xff; 32]).to_scalar::<F>(), Err(NotCanonical));
    assert_eq!(Bytes32::ZERO.to_scalar::<F>(), Ok(F::ZERO));
}

#[test]
fn the_modulus_is_the_first_number_refused() {
    modulus_is_refused::<blstrs::Scalar>();
    modulus_is_refused::<bls12_381::Scalar>();
}

proptest! {
    #[test]
    fn text_and_json_and_bincode_read_back(bytes: [u8; 32]) {
        let value = Bytes32::new(bytes);
        prop_assert_eq!(parse(&value.to_string()), Ok(value));
        let json = serde_json::to_string(&value).unwrap();
        prop_assert_eq!(json.len(), 68);
        prop_assert_eq!(serde_json::from_str::<Bytes32>(&json).unwrap(), value);
        let config = bincode::config::standard();
        let binary = bincode::serde::encode_to_vec(value, config).unwrap();
        prop_assert_eq!(&binary[..], &bytes[..]);
        let (again, _): (Bytes32, usize) = bincode::serde::decode_from_slice(&binary, config).unwrap();
        prop_assert_eq!(again, value);
    }

    #[test]
    fn leading_zeros_do_not_change_a_number(digits in "[0-9a-f]{1,64}") {
        let padded = format!("0x{digits:0>64}");
        prop_assert_eq!(parse(&format!("0x{digits}")), Ok(parse(&padded).unwrap()));
        prop_assert_eq!(parse(&padded).unwrap().to_string(), padded);
    }

    #[test]
    fn any_text_is_a_value_or_an_error(text in ".{0,80}") {
        let _ = parse(&text);
        let _ = parse(&format!("0x{text}"));
    }

    #[test]
    fn both_engines_read_the_same_bytes_as_the_same_element(bytes: [u8; 32]) {
        let value = Bytes32::new(bytes);
        let (ours, theirs) = (value.to_scalar::<blstrs::Scalar>(), value.to_scalar::<bls12_381::Scalar>());
        prop_assert_eq!(ours.is_ok(), theirs.is_ok());
        if let (Ok(ours), Ok(theirs)) = (ours, theirs) {
            prop_assert_eq!(Bytes32::from_scalar(&ours), value);
            prop_assert_eq!(Bytes32::from_scalar(&theirs.square()), Bytes32::from_scalar(&ours.square()));
        }
    }

    #[test]
    fn halves_put_together_are_the_whole(bytes: [u8; 32]) {
        let (high, low) = Bytes32::new(bytes).halves();
        prop_assert_eq!([high.to_be_bytes(), low.to_be_bytes()].concat(), bytes.to_vec());
    }
}
