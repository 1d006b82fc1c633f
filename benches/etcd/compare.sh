#!/usr/bin/env bash
# Compares durable writes: three etcd nodes against three zkpnet coordinators on this machine, over HTTP with JSON, with as
# many clients, on the same disk, in turn. Prints rates, latencies and the ratio.
#
#   benches/etcd/compare.sh [--rounds 3] [--seconds 10] [--clients 64] [--data FOLDER] [--port-base 18000]
#
# What each write does. etcd: a put of a value of the size of a zkpnet submission's body, under a key of its own, over its
# JSON gateway; acknowledged when a majority has fsynced it. zkpnet: `POST /api/v1/tasks/merkle` at the leader, acknowledged
# when a majority has fsynced it, too. It does more for each: it checks the request, hashes the Merkle tree with Poseidon,
# seals the input (ChaCha20-Poly1305), looks for repetitions, and queues the task. No worker is connected, so that nothing is
# proved meanwhile. All processes and the load share this machine's cores.
#
# Installs etcd-server and wrk (Debian) when they are missing and this is root. ZKP_BINARY names another zkpnet than
# target/release/zkpnet.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
rounds=3 seconds=10 clients=64 port_base=18000 data=
while [ $# -gt 0 ]; do
  case $1 in
    --rounds) rounds=$2; shift 2 ;;
    --seconds) seconds=$2; shift 2 ;;
    --clients) clients=$2; shift 2 ;;
    --data) data=$2; shift 2 ;;
    --port-base) port_base=$2; shift 2 ;;
    -h|--help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | grep -v '^set'; exit 0 ;;
    *) echo "unknown option $1" >&2; exit 2 ;;
  esac
done
data=${data:-$(mktemp -d "$root/data-compare.XXXXXX")}
mkdir -p "$data"

need() { # need COMMAND PACKAGE
  command -v "$1" >/dev/null && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    { apt-get install -y -qq "$2" || { apt-get update -qq && apt-get install -y -qq "$2"; }; } >/dev/null 2>&1 || true
  fi
  command -v "$1" >/dev/null || { echo "missing: $1 (Debian package $2)" >&2; exit 1; }
}
need etcd etcd-server
need wrk wrk
need python3 python3
zkpnet=${ZKP_BINARY:-${CARGO_TARGET_DIR:-$root/target}/release/zkpnet}
# A node refuses variables that it does not know.
export -n ZKP_BINARY
[ -x "$zkpnet" ] || (cd "$root" && cargo build --release --quiet)

pids=() keeps_logs=
finish() {
  local pid
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  [ -z "$keeps_logs" ] || return 0
  rm -f "$data"/*.log "$data/put.lua" "$data/results"
  rm -rf "$data/etcd-1" "$data/etcd-2" "$data/etcd-3" "$data/zkpnet"
  rmdir "$data" 2>/dev/null || true
}
trap finish EXIT

# poll WHAT COMMAND…: until the command succeeds, for a minute at most.
poll() {
  local what=$1 tries=0
  shift
  until "$@" >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 600 ] || { echo "waited in vain for $what; see the logs in $data" >&2; keeps_logs=yes; exit 1; }
    sleep 0.1
  done
}

etcd_client() { echo $((port_base + 500 + 2 * $1)); }
etcd_peer() { echo $((port_base + 501 + 2 * $1)); }
zkpnet_http() { echo $((port_base + 89 + $1)); }

start_etcd() {
  local n cluster="" other
  for other in 1 2 3; do cluster+="${cluster:+,}n$other=http://127.0.0.1:$(etcd_peer $other)"; done
  for n in 1 2 3; do
    etcd --name "n$n" --data-dir "$data/etcd-$n" --initial-cluster "$cluster" --initial-cluster-state new \
      --listen-client-urls "http://127.0.0.1:$(etcd_client $n)" --advertise-client-urls "http://127.0.0.1:$(etcd_client $n)" \
      --listen-peer-urls "http://127.0.0.1:$(etcd_peer $n)" --initial-advertise-peer-urls "http://127.0.0.1:$(etcd_peer $n)" \
      --quota-backend-bytes 8589934592 >"$data/etcd-$n.log" 2>&1 &
    pids+=($!)
  done
  for n in 1 2 3; do poll "etcd $n" etcd_is_well "$n"; done
}
etcd_is_well() { python3 - "$(etcd_client "$1")" <<'PY'
import json, sys, urllib.request
answer = json.load(urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/health", timeout=2))
sys.exit(0 if answer["health"] == "true" else 1)
PY
}
# The client port of the etcd node that leads.
etcd_leader() { python3 - "$(etcd_client 1)" "$(etcd_client 2)" "$(etcd_client 3)" <<'PY'
import json, sys, urllib.request
for port in sys.argv[1:]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v3/maintenance/status", data=b"{}")
    status = json.load(urllib.request.urlopen(request, timeout=5))
    if status["header"]["member_id"] == status["leader"]:
        print(port)
PY
}

start_zkpnet() {
  local n peers="" other
  mkdir -p "$data/zkpnet"
  for other in 1 2 3; do peers+="${peers:+,}coordinator-$other=127.0.0.1:$((port_base - 1001 + other))"; done
  "$zkpnet" tls data-key --out "$data/zkpnet/data.key" >/dev/null
  for n in 1 2 3; do
    env "ZKPNET_COORDINATOR__ID=coordinator-$n" "ZKPNET_RAFT__NODE_ID=coordinator-$n" "ZKPNET_RAFT__PEERS=$peers" \
      "ZKPNET_RAFT__RAFT_PORT=$((port_base - 1001 + n))" ZKPNET_RAFT__HOST=127.0.0.1 ZKPNET_CLUSTER__INSECURE=true \
      ZKPNET_RAFT__BOOTSTRAP=true ZKPNET_HTTP__HOST=127.0.0.1 "ZKPNET_HTTP__PORT=$(zkpnet_http $n)" \
      ZKPNET_GRPC__HOST=127.0.0.1 "ZKPNET_GRPC__PORT=$((port_base + 1089 + n))" \
      ZKPNET_TASKS__QUEUED_TASKS_MAX=10000000 ZKPNET_TASKS__QUEUED_INPUT_BYTES_MAX=64GiB ZKPNET_LOG__LEVEL=warn \
      "ZKPNET_STORAGE__DATA_DIR=$data/zkpnet/$n" "ZKPNET_STORAGE__KEY_FILE=$data/zkpnet/data.key" \
      "$zkpnet" coordinator >"$data/zkpnet-$n.log" 2>&1 &
    pids+=($!)
  done
  for n in 1 2 3; do
    poll "coordinator $n" "$zkpnet" healthcheck --ready --server "http://127.0.0.1:$(zkpnet_http $n)"
  done
}
# The coordinators, the leader first, as the benchmark takes them.
zkpnet_servers() { python3 - "$(zkpnet_http 1)" "$(zkpnet_http 2)" "$(zkpnet_http 3)" <<'PY'
import json, sys, urllib.request
def leads(port):
    return json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5))["raft"]["is_leader"]
print(",".join(f"http://127.0.0.1:{port}" for port in sorted(sys.argv[1:], key=lambda port: not leads(port))))
PY
}

# A value as long as the body of the submissions below, base64 as etcd's JSON wants it; keys that no thread shares.
cat >"$data/put.lua" <<'LUA'
local threads = 0
function setup(thread)
  threads = threads + 1
  thread:set("id", threads)
end
local b = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local function base64(text)
  return ((text:gsub(".", function(x)
    local r, byte = "", x:byte()
    for i = 8, 1, -1 do r = r .. (byte % 2 ^ i - byte % 2 ^ (i - 1) > 0 and "1" or "0") end
    return r
  end) .. "0000"):gsub("%d%d%d?%d?%d?%d?", function(x)
    if #x < 6 then return "" end
    local c = 0
    for i = 1, 6 do c = c + (x:sub(i, i) == "1" and 2 ^ (6 - i) or 0) end
    return b:sub(c + 1, c + 1)
  end) .. ({ "", "==", "=" })[#text % 3 + 1])
end
local value = base64('{"leaves":["0x0123456789abcdef0123456789abcdef","0x2"],"leaf_index":0}')
local run, count = os.time(), 0
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
function request()
  count = count + 1
  local key = base64(string.format("tasks/%d-%02d-%012d", run, id, count))
  return wrk.format(nil, "/v3/kv/put", nil, '{"key":"' .. key .. '","value":"' .. value .. '"}')
end
function done(summary, latency, requests)
  local failed = summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  io.write(string.format("RESULT %.1f %.2f %.2f %d\n", (summary.requests - summary.errors.status) / (summary.duration / 1e6),
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, failed))
end
LUA

round_etcd() {
  wrk -t2 -c"$clients" -d"${seconds}s" -s "$data/put.lua" "http://127.0.0.1:$(etcd_leader)" | sed -n 's/^RESULT //p'
}
round_zkpnet() {
  "$zkpnet" bench submit --server "$(zkpnet_servers)" --concurrency "$clients" --duration "${seconds}s" --output json |
    python3 -c '
import json, sys
report = json.load(sys.stdin)
latency = report["latency_ms"]
print("%.1f %.2f %.2f %d" % (report["per_second"], latency["p50"], latency["p99"], sum(report["errors"].values())))'
}

echo "etcd $(etcd --version | sed -n 's/^etcd Version: //p'), $("$zkpnet" --version), $(nproc) cores, data in $data ($(df --output=fstype "$data" | tail -1))"
start_etcd
start_zkpnet
printf '%-6s %-8s %10s %10s %10s %8s\n' round system writes/s "p50 ms" "p99 ms" errors
results=$data/results
: >"$results"
for round in $(seq 1 "$rounds"); do
  for system in etcd zkpnet; do
    read -r rate p50 p99 errors < <("round_$system")
    printf '%-6s %-8s %10s %10s %10s %8s\n' "$round" "$system" "$rate" "$p50" "$p99" "$errors"
    echo "$system $rate $p99" >>"$results"
  done
done
python3 - "$results" <<'PY'
import statistics, sys
rates, tails = {}, {}
for line in open(sys.argv[1]):
    system, rate, p99 = line.split()
    rates.setdefault(system, []).append(float(rate))
    tails.setdefault(system, []).append(float(p99))
median = {system: statistics.median(values) for system, values in rates.items()}
tail = {system: statistics.median(values) for system, values in tails.items()}
print(f"median: etcd {median['etcd']:.0f}/s (p99 {tail['etcd']:.1f} ms), zkpnet {median['zkpnet']:.0f}/s "
      f"(p99 {tail['zkpnet']:.1f} ms), ratio {median['zkpnet'] / median['etcd']:.2f}")
# On a machine whose speed changes from minute to minute the ratio within a round says more.
ratios = sorted(ours / theirs for ours, theirs in zip(rates["zkpnet"], rates["etcd"]))
print(f"ratio within a round: median {statistics.median(ratios):.2f}, from {ratios[0]:.2f} to {ratios[-1]:.2f}")
PY
