#!/usr/bin/env bash
# Starts three coordinators, the workers and the gateway on this machine in the background, waits until they take tasks,
# and prints the addresses. What runs already stays; data of an earlier run is used. scripts/sh/stop-cluster.sh stops them.

. "$(dirname "$0")/lib.sh"

start_all
wait_until_ready
print_addresses
