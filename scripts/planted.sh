#!/usr/bin/env bash
# Shows that the tests can fail: builds zkpnet with planted defects (src/planted.rs), makes one mistake at a time, and demands that
# the test that is there for it fails, and for that reason. Its last line counts the defects as a test runner counts tests.
#
#   ./scripts/planted.sh [--control] [NAME ...]    every defect, or these
#
# With --control the same tests must first pass in the same build without a mistake; scripts/test.sh leaves that to the run of all
# tests before, which differs in nothing but branches that ask for a defect.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/zkpnet/target}"
control=""
if [ "${1:-}" = --control ]; then control=yes; shift; fi

# defect | test target | test | what it says when it finds the defect (extended regular expression)
table='
acknowledge-before-disk | scenarios | all_killed::      | was acknowledged and came to this
no-attempt-fence        | sim       | every_history_    | right: .Err.StaleAttempt
double-lease            | sim       | every_history_    | right: .Err.TaskNotPending
stale-read              | scenarios | leader_cut_off::  | not linearizable
lost-result             | scenarios | result_kept::     | waited in vain for .*the task to end|\"attempts\":2
forgotten-key           | scenarios | key_repeated::    | is another task
unchecked-proof         | actors    | came_out_false    | a false proof got through
'

# What a failed scenario keeps for its reader goes with this folder.
TMPDIR="$(mktemp -d)"
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
log="$TMPDIR/log"

# Indented, so that its lines are not counted as results of this run.
show() { tail -40 "$log" | sed 's/^/    /'; }
run() { cargo test --locked --quiet --features planted-bugs --test "$1" -- ${2:+"$2"} --nocapture > "$log" 2>&1; }

# Apart from the runs: a build that fails is no defect that was found.
cargo test --locked --quiet --features planted-bugs --test sim --test scenarios --test actors --no-run

found=0
missed=0
checked=" "
while IFS='|' read -r defect target test reason; do
    read -r defect <<< "$defect"; read -r target <<< "$target"; read -r test <<< "$test"; read -r reason <<< "$reason"
    [ -n "$defect" ] || continue
    if [ $# -gt 0 ] && [[ " $* " != *" $defect "* ]]; then continue; fi
    began=$SECONDS
    if [ -n "$control" ] && [[ "$checked" != *" $target/$test "* ]]; then
        if ! run "$target" "$test"; then
            show
            echo "UNCLEAR $defect: $target $test fails without a defect"
            missed=$((missed + 1))
            continue
        fi
        checked+="$target/$test "
    fi
    if PLANTED_BUG="$defect" run "$target" "$test"; then
        echo "MISSED  $defect: $target $test passed"
        missed=$((missed + 1))
    elif grep -qE "$reason" "$log"; then
        echo "found   $defect: $target $test ($(grep -oEm1 "$reason" "$log")), $((SECONDS - began)) s"
        found=$((found + 1))
    else
        show
        echo "UNCLEAR $defect: $target $test failed for another reason"
        missed=$((missed + 1))
    fi
done <<< "$table"
[ "$missed" = 0 ] && verdict=ok || verdict=FAILED
echo "test result: $verdict. $found passed; $missed failed; 0 ignored; planted defects"
[ "$missed" = 0 ]
