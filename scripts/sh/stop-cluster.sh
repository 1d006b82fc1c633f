#!/usr/bin/env bash
# Stops what scripts/sh/start-cluster.sh started: the gateway, the workers (they finish or give back what they hold), the
# coordinators. The data stays.

. "$(dirname "$0")/lib.sh"

stop_all
