#!/usr/bin/env bash
# Shows that the tests can fail: builds zkpnet with planted defects (src/planted.rs), makes one mistake at a time, and demands that
# the test that is there for it fails, and for that reason. The same build without a mistake must pass.
#
#   ./scripts/planted.sh            every defect
#   ./scripts/planted.sh NAME ...   these
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/zkpnet/target}"

# defect | test target | test | what it says when it finds the defect (extended regular expression)
table='
acknowledge-before-disk | scenarios | all_killed::      | was acknowledged and came to this
no-attempt-fence        | sim       | every_history_    | right: .Err.StaleAttempt
double-lease            | sim       | every_history_    | right: .Err.TaskNotPending
stale-read              | scenarios | leader_cut_off::  | not linearizable
lost-result             | scenarios | result_kept::     | waited in vain for .*the task to end|\"attempts\":2
forgotten-key           | scenarios | key_repeated::    | is another task
'

run() { cargo test --locked --quiet --features planted-bugs --test "$1" -- ${2:+"$2"} --nocapture > "$log" 2>&1; }

# What a failed scenario keeps for its reader goes with this folder.
TMPDIR="$(mktemp -d)"
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
log="$TMPDIR/log"
missed=0
checked=" "
while IFS='|' read -r defect target test reason; do
    read -r defect <<< "$defect"; read -r target <<< "$target"; read -r test <<< "$test"; read -r reason <<< "$reason"
    [ -n "$defect" ] || continue
    if [ $# -gt 0 ] && [[ " $* " != *" $defect "* ]]; then continue; fi
    if [[ "$checked" != *" $target/$test "* ]]; then
        if ! run "$target" "$test"; then tail -40 "$log"; echo "$target $test fails without a defect" >&2; exit 1; fi
        checked+="$target/$test "
    fi
    if PLANTED_BUG="$defect" run "$target" "$test"; then
        echo "MISSED  $defect: $target $test passed"
        missed=1
    elif grep -qE "$reason" "$log"; then
        echo "found   $defect: $target $test ($(grep -oEm1 "$reason" "$log"))"
    else
        tail -40 "$log"
        echo "UNCLEAR $defect: $target $test failed for another reason"
        missed=1
    fi
done <<< "$table"
exit "$missed"
