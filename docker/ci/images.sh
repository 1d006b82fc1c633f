#!/usr/bin/env bash
# Makes the images that the compose files name where no registry can be reached: a Debian from its packages, PostgreSQL, Prometheus
# and HAProxy in it, and zkp-coordinator around a zkpnet that is built already. Needs root, Docker and debootstrap.
#
#   docker/ci/images.sh                        the bases: zkp-ci/debian, zkp-ci/postgres, zkp-ci/prometheus, zkp-ci/haproxy
#   docker/ci/images.sh --binary FILE [TAG]    and zkp-coordinator:TAG (default ci) with this binary
#   docker/ci/images.sh --rust                 and zkp-ci/rust with this machine's Rust, to build docker/Dockerfile as a whole
#
# The last is for the build stage of docker/Dockerfile, which takes too long for the tests. It gets its crates from crates.io:
#
#   docker build --network host --build-arg RUST_IMAGE=zkp-ci/rust --build-arg BASE_IMAGE=zkp-ci/debian \
#       -f docker/Dockerfile -t zkp-coordinator .
#
# What is there and was made by these same files is not made again. The Debian itself is also kept as an archive outside the tree,
# ${XDG_CACHE_HOME:-~/.cache}/zkpnet/images, for an engine that has forgotten its images. ZKP_CI_SUITE names another release than
# bookworm, ZKP_CI_MIRROR another mirror than deb.debian.org.
set -euo pipefail
cd "$(dirname "$0")/../.."
suite=${ZKP_CI_SUITE:-bookworm}
mirror=${ZKP_CI_MIRROR:-http://deb.debian.org/debian}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/zkpnet/images
binary='' tag=ci rust=''
case ${1:-} in
    '') ;;
    --rust) rust=1 ;;
    --binary) binary=${2:?--binary wants a file}; tag=${3:-ci} ;;
    *) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"; exit 2 ;;
esac
# The classic builder, which every engine has.
export DOCKER_BUILDKIT=0

fail() { echo "images: $*" >&2; exit 1; }
command -v docker > /dev/null || fail "missing: docker (Debian package docker.io)"
docker info > /dev/null 2>&1 || fail "the Docker engine does not answer: $(docker info 2>&1 | tail -n 1)"
mkdir -p "$cache"
exec 9> "$cache/lock"
flock 9 # two at a time would make everything twice

temporary=$(mktemp -d)
trap 'rm -rf --one-file-system "$temporary"' EXIT

id_of() { docker image inspect --format '{{.Id}}' "$1" 2> /dev/null || true; }
# digest [FILE…]: of what comes on standard input, and of the files.
digest() { cat - "$@" | sha256sum | cut -c1-16; }
# is_made IMAGE KEY: whether the image is there, made from files of this digest.
is_made() { [ "$(docker image inspect --format '{{index .Config.Labels "zkp.key"}}' "$1" 2> /dev/null)" = "$2" ]; }

# quietly WHAT COMMAND…: shows the command's words only when it fails.
quietly() {
    local what=$1 began=$SECONDS
    shift
    if ! "$@" > "$temporary/log.$BASHPID" 2>&1; then
        tail -n 30 "$temporary/log.$BASHPID" >&2
        fail "$what could not be made"
    fi
    echo "images: $what ($((SECONDS - began)) s)"
}

# make IMAGE COMMAND…: makes the image, and forgets the one that had its name.
make() {
    local image=$1 old
    shift
    old=$(id_of "$image")
    quietly "$image" "$@"
    # One that a container still uses stays.
    [ -z "$old" ] || [ "$old" = "$(id_of "$image")" ] || docker rmi "$old" > /dev/null 2>&1 || true
}

bootstrap() {
    debootstrap --variant=minbase "$suite" "$temporary/root" "$mirror"
    # What the slim images of Debian leave out too.
    rm -rf "$temporary"/root/usr/share/{doc,info,locale,man}/* "$temporary"/root/var/cache/apt/*.bin \
        "$temporary"/root/var/cache/apt/archives/*.deb "$temporary"/root/var/lib/apt/lists/* "$temporary"/root/var/log/*.log
    # No package starts a service within an image.
    printf '#!/bin/sh\nexit 101\n' > "$temporary/root/usr/sbin/policy-rc.d"
    chmod +x "$temporary/root/usr/sbin/policy-rc.d"
    tar -C "$temporary/root" --numeric-owner -cf "$archive.part" .
    rm -f "$cache"/debian-*.tar
    mv "$archive.part" "$archive"
    rm -rf --one-file-system "$temporary/root"
}

key=$suite-$(declare -f bootstrap | digest)
archive=$cache/debian-$key.tar
if ! is_made zkp-ci/debian "$key"; then
    if [ ! -f "$archive" ]; then
        command -v debootstrap > /dev/null || fail "missing: debootstrap (Debian package debootstrap)"
        [ "$(id -u)" = 0 ] || fail "debootstrap needs root"
        quietly "the archive of Debian $suite" bootstrap
    fi
    make zkp-ci/debian docker import --change "LABEL zkp.key=$key" --change 'CMD ["bash"]' "$archive" zkp-ci/debian
fi

base=$(id_of zkp-ci/debian)
made=()
for name in postgres prometheus haproxy; do
    own=$(digest docker/ci/$name/* <<< "$base")
    is_made "zkp-ci/$name" "$own" && continue
    # The host's network: what reached Debian's mirror a moment ago reaches it again.
    make "zkp-ci/$name" docker build --network host --label "zkp.key=$own" -t "zkp-ci/$name" "docker/ci/$name" &
    made+=($!)
done
for build in "${made[@]}"; do wait "$build" || exit 1; done

if [ -n "$rust" ]; then
    command -v rustc > /dev/null || fail "missing: rustc; see https://rustup.rs"
    target=$(rustc -vV | sed -n 's/^host: //p')
    own=$(digest docker/ci/rust/Dockerfile <<< "$base $(rustc -vV)")
    is_made zkp-ci/rust "$own" && exit 0
    mkdir "$temporary/rust"
    # Whom this machine trusts, which may be a proxy on its way to crates.io.
    cp docker/ci/rust/Dockerfile /etc/ssl/certs/ca-certificates.crt "$temporary/rust/"
    # Without documents, and what a build for the machine itself does not use.
    (cd "$(rustc --print sysroot)" && tar -cf "$temporary/rust/toolchain.tar" bin/cargo bin/rustc lib/lib* "lib/rustlib/$target")
    make zkp-ci/rust docker build --network host --label "zkp.key=$own" -t zkp-ci/rust "$temporary/rust"
fi

[ -n "$binary" ] || exit 0
[ -x "$binary" ] || fail "$binary is no program"
own=$(digest "$binary" docker/Dockerfile docker/entrypoint.sh docker/ci/zkpnet.Dockerfile config/*.yaml config/*/*.yaml <<< "$base")
is_made "zkp-coordinator:$tag" "$own" && exit 0
make zkp-ci/runtime docker build --build-arg BASE_IMAGE=zkp-ci/debian --target runtime -t zkp-ci/runtime -f docker/Dockerfile .
mkdir "$temporary/image"
cp docker/ci/zkpnet.Dockerfile "$temporary/image/Dockerfile"
# Without what is for debuggers alone, which is most of a debug build.
objcopy --strip-debug "$binary" "$temporary/image/zkpnet"
make "zkp-coordinator:$tag" docker build --label "zkp.key=$own" -t "zkp-coordinator:$tag" "$temporary/image"
