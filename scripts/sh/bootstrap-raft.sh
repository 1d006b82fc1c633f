#!/usr/bin/env bash
# Makes the cluster anew: stops everything, removes the coordinators' Raft data, starts coordinator-1, which founds the
# cluster, then coordinator-2 and coordinator-3. EVERY TASK IS LOST. Asks first, unless --yes comes before the options.

yes=
if [ "${1:-}" = --yes ]; then
  yes=1
  shift
fi
. "$(dirname "$0")/lib.sh"

if [ -z "$yes" ]; then
  read -r -p "This removes all tasks in $data. Go on? [y/N] " answer
  case $answer in y|Y|yes) ;; *) echo "nothing was changed"; exit 1 ;; esac
fi
stop_all
for n in 1 2 3; do rm -rf "$data/coordinator-$n/raft"; done
rm -f "$data/log/coordinator-1.log"
start_coordinator 1
tries=0
until grep -q "Raft cluster bootstrapped successfully" "$data/log/coordinator-1.log" 2>/dev/null; do
  tries=$((tries + 1))
  if [ $tries -gt 300 ] || ! is_running coordinator-1; then
    echo "coordinator-1 did not found the cluster; the end of its log:" >&2
    tail -n 5 "$data/log/coordinator-1.log" >&2
    exit 1
  fi
  sleep 0.1
done
start_all
wait_until_ready
print_addresses
