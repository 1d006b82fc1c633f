#!/usr/bin/env bash
# Runs three coordinators, two workers and a gateway on this machine, without containers, until Ctrl-C: prints the
# addresses when they take tasks, and stops them in order at the end. The data stays for the next run.

. "$(dirname "$0")/lib.sh"

idle=
trap 'trap "" INT TERM; echo; echo "stopping …"; stop_all; [ -z "$idle" ] || kill "$idle" 2>/dev/null || true' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
start_all
wait_until_ready
print_addresses
echo "Ctrl-C stops them."
# A background sleep, so that a signal is heard at once.
while :; do
  sleep 3600 &
  idle=$!
  wait "$idle"
done
