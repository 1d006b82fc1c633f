# Shared by the scripts of this folder: three coordinators, two workers and a gateway as processes on this machine.
# Sourced, not run.
#
# Ports follow from a base B (8000 gives the usual ones): gateway B+80; coordinators' HTTP B+90, B+91, B+92; their worker
# ports B+1090…; their Raft ports B-1000…; workers' HTTP B+70, B+71.

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
port_base=8000
data=$root/data/cluster
workers=2
prover_slots=

usage() {
  sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
  echo "Options: --port-base N (default 8000)  --data FOLDER (default data/cluster)  --workers N (default 2)  --slots N"
  echo "ZKP_BINARY names another zkpnet than target/release/zkpnet, which is built when it is not there."
}

while [ $# -gt 0 ]; do
  case $1 in
    --port-base) port_base=${2:?--port-base wants a number}; shift 2 ;;
    --data) data=${2:?--data wants a folder}; shift 2 ;;
    --workers) workers=${2:?--workers wants a number}; shift 2 ;;
    --slots) prover_slots=${2:?--slots wants a number}; shift 2 ;;
    -h|--help) usage; exit 0 ;;
    *) echo "unknown option $1" >&2; usage >&2; exit 2 ;;
  esac
done
case $port_base$workers in *[!0-9]*) echo "--port-base and --workers want whole numbers" >&2; exit 2 ;; esac
if [ "$workers" -gt 10 ]; then
  echo "--workers: at most 10, or their ports would be others'" >&2
  exit 2
fi
if [ "$port_base" -lt 2024 ] || [ "$port_base" -gt 64000 ]; then
  echo "--port-base: $port_base is out of range: allowed is 2024 to 64000" >&2
  exit 2
fi
mkdir -p "$data"
data=$(cd "$data" && pwd)

http_port() { echo $((port_base + 89 + $1)); }
grpc_port() { echo $((port_base + 1089 + $1)); }
raft_port() { echo $((port_base - 1001 + $1)); }
worker_port() { echo $((port_base + 69 + $1)); }
gateway_port=$((port_base + 80))

binary() {
  if [ -n "${ZKP_BINARY:-}" ]; then
    echo "$ZKP_BINARY"
    return
  fi
  local built=${CARGO_TARGET_DIR:-$root/target}/release/zkpnet
  [ -x "$built" ] || (cd "$root" && cargo build --release --quiet) >&2
  echo "$built"
}

# is_running NAME: whether the process of that name, which an earlier call started, runs.
is_running() {
  local pid_file=$data/run/$1.pid pid
  [ -f "$pid_file" ] && read -r pid <"$pid_file" && kill -0 "$pid" 2>/dev/null
}

# launch NAME COMMAND…: starts a process in the background; its words go to a log of its name.
launch() {
  local name=$1
  shift
  mkdir -p "$data/run" "$data/log"
  if is_running "$name"; then
    echo "$name runs already"
    return
  fi
  # A process of its own group, so that Ctrl-C reaches the script alone, which then stops all in order.
  setsid "$@" >>"$data/log/$name.log" 2>&1 </dev/null &
  echo $! >"$data/run/$name.pid"
}

start_coordinator() {
  local n=$1 peers="" other
  for other in 1 2 3; do peers+="${peers:+,}coordinator-$other=127.0.0.1:$(raft_port "$other")"; done
  [ -f "$data/data.key" ] || "$(binary)" tls data-key --out "$data/data.key" >/dev/null
  launch "coordinator-$n" env \
    "ZKPNET_COORDINATOR__ID=coordinator-$n" "ZKPNET_RAFT__NODE_ID=coordinator-$n" \
    "ZKPNET_RAFT__PEERS=$peers" "ZKPNET_RAFT__RAFT_PORT=$(raft_port "$n")" ZKPNET_RAFT__HOST=127.0.0.1 \
    ZKPNET_HTTP__HOST=127.0.0.1 "ZKPNET_HTTP__PORT=$(http_port "$n")" \
    ZKPNET_GRPC__HOST=127.0.0.1 "ZKPNET_GRPC__PORT=$(grpc_port "$n")" \
    "ZKPNET_STORAGE__DATA_DIR=$data/coordinator-$n" "ZKPNET_STORAGE__KEY_FILE=$data/data.key" \
    "$(binary)" coordinator --config "$root/config/coordinator-cluster.yaml"
}

start_worker() {
  local n=$1
  launch "worker-$n" env "ZKPNET_WORKER__ID=worker-$n" \
    "ZKPNET_WORKER__COORDINATOR_ADDRESS=127.0.0.1:$(grpc_port 1),127.0.0.1:$(grpc_port 2),127.0.0.1:$(grpc_port 3)" \
    ZKPNET_HTTP__HOST=127.0.0.1 "ZKPNET_HTTP__PORT=$(worker_port "$n")" \
    "ZKPNET_STORAGE__DATA_DIR=$data/worker-$n" ${prover_slots:+"ZKPNET_PROVER__SLOTS=$prover_slots"} \
    "$(binary)" worker --config "$root/config/worker.yaml"
}

start_gateway() {
  launch gateway env ZKPNET_HTTP__HOST=127.0.0.1 "ZKPNET_HTTP__PORT=$gateway_port" \
    "ZKPNET_GATEWAY__COORDINATORS=127.0.0.1:$(http_port 1),127.0.0.1:$(http_port 2),127.0.0.1:$(http_port 3)" \
    "$(binary)" gateway --config "$root/config/gateway.yaml"
}

start_all() {
  local n
  for n in 1 2 3; do start_coordinator "$n"; done
  for n in $(seq 1 "$workers"); do start_worker "$n"; done
  start_gateway
}

# stop_one NAME: SIGTERM, and SIGKILL when that has not helped in 30 seconds.
stop_one() {
  local name=$1 pid_file=$data/run/$1.pid pid tries=0
  [ -f "$pid_file" ] || return 0
  pid=$(cat "$pid_file")
  kill "$pid" 2>/dev/null || true
  while kill -0 "$pid" 2>/dev/null; do
    tries=$((tries + 1))
    if [ $tries -gt 300 ]; then
      echo "$name does not end: killed" >&2
      kill -9 "$pid" 2>/dev/null || true
    fi
    sleep 0.1
  done
  rm -f "$pid_file"
}

# stop_together KIND: stops all processes of that kind at a time. It waits for its own jobs by number: what an earlier call of this
# shell launched is a child of it as well, and a bare `wait` would wait for coordinators that nobody has asked to end yet.
stop_together() {
  local kind=$1 pid_file jobs=()
  for pid_file in "$data/run/$kind"-*.pid; do
    [ -e "$pid_file" ] || continue
    stop_one "$(basename "$pid_file" .pid)" &
    jobs+=($!)
  done
  [ ${#jobs[@]} -eq 0 ] || wait "${jobs[@]}" || true
}

# stop_all: the gateway first, then the workers, which give back what they hold, then the coordinators.
stop_all() {
  stop_one gateway
  stop_together worker
  stop_together coordinator
}

# wait_until_ready: comes back when the gateway takes tasks, or ends with the logs' last words. What it waits for is in the background:
# bash does not hear a Ctrl-C that comes just as a command in the foreground ends by itself.
wait_until_ready() {
  local tries=0 name program
  program=$(binary)
  until { "$program" healthcheck --ready --server "http://127.0.0.1:$gateway_port" >/dev/null 2>&1 & wait $!; }; do
    for name in coordinator-1 coordinator-2 coordinator-3 gateway; do
      if ! is_running "$name"; then
        echo "$name has ended; the end of its log:" >&2
        tail -n 5 "$data/log/$name.log" >&2
        exit 1
      fi
    done
    tries=$((tries + 1))
    if [ $tries -gt 600 ]; then
      echo "the cluster did not become ready in time; see $data/log" >&2
      exit 1
    fi
    sleep 0.1 & wait $!
  done
}

print_addresses() {
  local n
  echo "gateway        http://127.0.0.1:$gateway_port/api/v1/tasks"
  for n in 1 2 3; do
    echo "coordinator-$n  http://127.0.0.1:$(http_port "$n")/health   workers 127.0.0.1:$(grpc_port "$n")   raft 127.0.0.1:$(raft_port "$n")"
  done
  for n in $(seq 1 "$workers"); do echo "worker-$n       http://127.0.0.1:$(worker_port "$n")/health"; done
  echo "logs           $data/log"
}
