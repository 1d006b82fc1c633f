#!/usr/bin/env bash
# Runs the tests of the arithmetic that holds `unsafe` code with AddressSanitizer, which sees reads and writes outside of what was
# allocated. The whole crate is compiled anew for it, so that it takes some minutes: `./scripts/test.sh --long` calls it.
#
# The flag is not stable in Rust; RUSTC_BOOTSTRAP lets the stable compiler take it.
set -euo pipefail
cd "$(dirname "$0")/.."

host="$(rustc --version --verbose | sed -n 's/^host: //p')"
export RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address"
cargo test --locked --release --target "$host" --lib -- \
    proof::arith proof::msm proof::groth16::domain proof::groth16::fixed_base proof::groth16::miller proof::poseidon
