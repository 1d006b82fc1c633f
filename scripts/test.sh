#!/usr/bin/env bash
# Runs every test of zkpnet, and installs what they need when it is missing. `.ci/run` calls it.
#
#   ./scripts/test.sh           everything, bounded
#   ./scripts/test.sh --long    the same with longer simulations and more rounds of killing
#
# The build goes to $CARGO_TARGET_DIR when that is set, else to a cache outside the tree, so that a fresh clone does not
# begin from nothing: ${XDG_CACHE_HOME:-~/.cache}/zkpnet/target.
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1:-}" in
    --long)
        export ZKPNET_SIM_CASES="${ZKPNET_SIM_CASES:-5000}" ZKPNET_TEST_ROUNDS="${ZKPNET_TEST_ROUNDS:-20}" ZKPNET_LONG=1
        ;;
    "") ;;
    *) echo "usage: $0 [--long]" >&2; exit 2 ;;
esac

step() { printf '\n== %s\n' "$*"; }

have() { # have COMMAND or have 'PATTERN OF A PATH'
    case "$1" in */*) compgen -G "$1" > /dev/null ;; *) command -v "$1" > /dev/null ;; esac
}

need() { # need COMMAND PACKAGE, or need 'PATTERN OF A PATH' PACKAGE
    have "$1" && return
    if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
        step "installing $2"
        apt-get update -qq && apt-get install -y -qq "$2" > /dev/null
        # Debian starts the servers that it installs. The tests make servers of their own, and need the ports.
        case "$2" in
            postgresql | prometheus | haproxy | nginx-light)
                if [ -d /run/systemd/system ]; then
                    systemctl disable --now --quiet "${2%-light}" 2> /dev/null || true
                fi
                ;;
        esac
    fi
    have "$1" || { echo "missing: $1 (Debian package $2)" >&2; exit 1; }
}

step "tools"
command -v cargo > /dev/null || { echo "missing: cargo; see https://rustup.rs" >&2; exit 1; }
need cc gcc # blst, ring and blake3 compile C and assembly; a scenario compiles a slow fsync
need ip iproute2 # the scenarios give every process a network of its own
need iptables iptables
need setpriv util-linux
need curl curl # the walk-through of the quick start runs its commands as they are written
need jq jq
# Tests make servers of their own; the one that Debian may start with the package is not used.
need '/usr/lib/postgresql/*/bin/initdb' postgresql
# What the rules of the alerts, and the load balancers before a cluster, are tested with.
need promtool prometheus
need haproxy haproxy
need nginx nginx-light
need watch procps
need strings binutils
need git git
need systemd-analyze systemd # looks through the units; nothing of it need run
need docker docker.io # the containers: tests/compose
need docker-compose docker-compose
if [ -n "${ZKPNET_LONG:-}" ]; then need valgrind valgrind; fi
need debootstrap debootstrap # no registry need be in reach: their bases are made of Debian's packages
cargo fmt --version > /dev/null || { echo "missing: rustfmt; rustup component add rustfmt" >&2; exit 1; }
cargo clippy --version > /dev/null || { echo "missing: clippy; rustup component add clippy" >&2; exit 1; }
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/zkpnet/target}"
mkdir -p "$CARGO_TARGET_DIR"
echo "builds in $CARGO_TARGET_DIR"
cargo --version

# An engine that is installed and does not run is started. Where that is not possible, the tests that need it say so and fail.
if ! docker info > /dev/null 2>&1; then
    step "starting the Docker engine"
    setsid dockerd > "$CARGO_TARGET_DIR/dockerd.log" 2>&1 < /dev/null &
    for ((tries = 0; tries < 60; tries++)); do
        if docker info > /dev/null 2>&1; then break; fi
        sleep 0.5
    done
fi

step "format"
cargo fmt --check
# Too large to build here: the provers that ours is compared with.
cargo fmt --check --manifest-path benches/peers/Cargo.toml

step "lints"
cargo clippy --locked --all-targets --quiet -- -D warnings

step "licences, bans and sources of the dependencies"
if ! cargo deny --version > /dev/null 2>&1; then
    echo "installing cargo-deny (once)"
    cargo install --locked --quiet cargo-deny --target-dir "$CARGO_TARGET_DIR/cargo-deny"
    rm -rf "$CARGO_TARGET_DIR/cargo-deny"
fi
cargo deny --log-level error check licenses bans sources
# The advisory database lives in a git repository that not every machine can reach.
if ! cargo deny --log-level error check advisories; then
    if cargo deny fetch > /dev/null 2>&1; then exit 1; fi
    echo "the advisory database cannot be fetched from here: advisories were NOT checked"
fi

step "build"
cargo build --locked --tests --benches --quiet

step "images for the containers' tests"
docker/ci/images.sh || echo "the images were not made: the tests of the containers will fail"

step "tests"
results="$(mktemp)"
trap 'rm -f "$results"' EXIT
set +e
cargo test --locked --no-fail-fast 2>&1 | tee "$results"
status="${PIPESTATUS[0]}"
step "the scenarios again, with PostgreSQL as the archive"
ZKPNET_SCENARIO_ARCHIVE=1 cargo test --locked --no-fail-fast --test scenarios -- --skip database_ --skip history --skip lab 2>&1 | tee -a "$results"
archived="${PIPESTATUS[0]}"
step "evidence: why the consensus engine is not little_raft"
cargo test --locked --manifest-path evidence/little-raft/Cargo.toml 2>&1 | tee -a "$results"
evidence="${PIPESTATUS[0]}"
step "planted defects, each of which a test must find"
./scripts/planted.sh ${ZKPNET_LONG:+--control} 2>&1 | tee -a "$results"
planted="${PIPESTATUS[0]}"
if [ -n "${ZKPNET_LONG:-}" ]; then
    step "the arithmetic under AddressSanitizer"
    ./scripts/sanitize.sh 2>&1 | tee -a "$results"
    [ "${PIPESTATUS[0]}" = 0 ] || status=1
fi
set -e

# One line for the whole run, from the lines that the test runner closed each target with, and one line of the same form for
# the planted defects.
count() { awk -v what="$1" '/^test result:/ { for (i = 1; i < NF; i++) if ($(i + 1) == what ";") sum += $i } END { print sum + 0 }' "$results"; }
step "summary"
echo "$(count passed) passed, $(count failed) failed, $(count ignored) skipped"
[ "$status" = 0 ] && [ "$archived" = 0 ] && [ "$evidence" = 0 ] && [ "$planted" = 0 ]
