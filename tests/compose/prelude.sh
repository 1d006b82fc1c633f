# What differs between the tree that the documents were written for and this one. The commands themselves stay as they are written.

# The compose file of the cluster has another path.
docker-compose() {
    local theirs=deployments/docker/docker-compose-cluster.yml ours=docker/compose.cluster.yml
    command docker-compose "${@/#$theirs/$ours}"
}

# So has Raft's file. A log that is followed is followed for some seconds.
docker() {
    local theirs=/raft-stable.db ours=/raft.redb
    set -- "${@/%$theirs/$ours}"
    if [ "$1 $2" = "logs -f" ]; then timeout 3 docker "$@"; else command docker "$@"; fi
}

watch() { TERM=xterm timeout 3 watch "$@"; }

# There is no Go here: what it was to run is a program, which ends with the shell. Nothing needs to be fetched.
go() {
    [ "$1" = run ] || return 0
    (cd "$TREE" && exec "$ZKPNET" coordinator --config config/dev/coordinator-local.yaml > coordinator-local.log 2>&1) &
    local pid=$! tries=0
    trap "kill $pid; wait $pid" EXIT
    until "$ZKPNET" healthcheck --ready --server http://127.0.0.1:8090 > /dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || { cat "$TREE/coordinator-local.log" >&2; return 1; }
        sleep 0.1
    done
}

