#!/usr/bin/env bash
# Runs the tests of the arithmetic that holds `unsafe` code with AddressSanitizer, which sees reads and writes outside of what was
# allocated. The whole crate is compiled anew for it, so that it takes some minutes: `./scripts/test.sh --long` calls it.
#
# It does not see what assembly does. Valgrind does, which knows no AVX-512, so that the products by AVX2 are what it looks at.
#
# The flag is not stable in Rust; RUSTC_BOOTSTRAP lets the stable compiler take it.
set -euo pipefail
cd "$(dirname "$0")/.."

host="$(rustc --version --verbose | sed -n 's/^host: //p')"
command -v valgrind > /dev/null || { echo "missing: valgrind (Debian package valgrind)" >&2; exit 1; }
RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address" cargo test --locked --release --target "$host" --lib -- \
    proof::arith proof::msm proof::groth16::domain proof::groth16::fixed_base proof::groth16::miller proof::poseidon

triple="${host^^}"
export "CARGO_TARGET_${triple//-/_}_RUNNER=valgrind --quiet --error-exitcode=9"
# It takes a hundred times as long: no test of thousands of points.
PROPTEST_CASES=2 cargo test --locked --lib -- \
    proof::arith proof::msm::endomorphism proof::msm::tests::edge proof::msm::tests::repeated
