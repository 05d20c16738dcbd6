#!/bin/sh
# Builds and tests the image with the engine that is there: `make image`, `make image-test`.
#   ENGINE=docker|podman|buildah  which one; BASE, JAX, EXTRA: arguments of the Dockerfile; IMAGE: the tag
#   CA=file                       a certificate that pip needs in the build
set -eu
cd "$(dirname "$0")/.."
image=${IMAGE:-dolfinx_admat}

fail() {
    printf 'image: %s\n' "$1" >&2
    exit 1
}

# An engine counts only if it answers: a docker client without its daemon does not.
works() {
    command -v "$1" >/dev/null 2>&1 && "$1" "${2:-info}" >/dev/null 2>&1
}
engine=${ENGINE:-}
if [ -n "$engine" ]; then
    works "$engine" || fail "ENGINE=$engine does not answer: '$engine info' fails."
else
    for engine in docker podman buildah none; do
        [ "$engine" = none ] && fail "no container engine answers here: install docker, podman or buildah (a docker client also needs its daemon running), then run this again."
        works "$engine" && break
    done
fi

build() {
    version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' dolfinx_admat/__init__.py)
    revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
    set -- -f docker/Dockerfile -t "$image" \
        --build-arg "VERSION=$version" --build-arg "REVISION=$revision" \
        ${BASE:+--build-arg "BASE=$BASE"} ${JAX:+--build-arg "JAX=$JAX"} \
        ${EXTRA:+--build-arg "EXTRA=$EXTRA"} ${SOURCE:+--build-arg "SOURCE=$SOURCE"} ${CA:+--secret "id=ca,src=$CA"}
    case $engine in
    docker) DOCKER_BUILDKIT=1 docker build "$@" . ;;
    podman) podman build --format docker "$@" . ;;
    buildah) buildah build --format docker --layers "$@" . ;;
    esac
    echo "image: $image, $(size)"
    run versions
}

size() {
    case $engine in
    buildah) buildah images --format '{{.Size}}' "$image" | head -n 1 ;;
    *) "$engine" image inspect --format '{{.Size}}' "$image" | awk '{printf "%.2f GB\n", $1 / 1e9}' ;;
    esac
}

# One command inside, as `docker run` would: run [-u UID:GID] [-v FOLDER] [-r] COMMAND...; -r: the
# image is read-only and only /tmp can be written.
run() {
    user=1000:1000 folder='' readonly=''
    while getopts u:v:r option; do
        case $option in
        u) user=$OPTARG ;;
        v) folder=$OPTARG ;;
        r) readonly=yes ;;
        *) exit 2 ;;
        esac
    done
    shift $((OPTIND - 1))
    OPTIND=1
    case $engine in
    docker | podman)
        "$engine" run --rm --user "$user" ${folder:+-v "$folder:/work"} \
            ${readonly:+--read-only --tmpfs /tmp:exec} "$image" "$@"
        ;;
    buildah) run_buildah "$@" ;;
    esac
}

# buildah has neither an entrypoint nor read-only containers: the first is named, and for the second
# all folders of the image but /tmp are mounted over themselves, read-only. /dev/shm is as small as
# Docker makes it.
run_buildah() {
    container=$(buildah from "$image")
    root=$(buildah mount "$container")
    shm=$(mktemp -d)
    mount -t tmpfs -o size=64m,mode=1777 tmpfs "$shm"
    inside="admat"
    set -- "$container" -- "$inside" "$@"
    if [ -n "$readonly" ]; then
        for path in "$root"/*/; do
            name=$(basename "$path")
            case $name in
            dev | proc | sys | tmp | run | work) continue ;;
            esac
            [ -L "${path%/}" ] || set -- -v "${path%/}:/$name:ro" "$@"
        done
    fi
    [ -z "$folder" ] || set -- -v "$folder:/work" "$@"
    status=0
    buildah run --isolation "${BUILDAH_ISOLATION:-chroot}" --user "$user" -v "$shm:/dev/shm" "$@" || status=$?
    umount "$shm" && rmdir "$shm"
    buildah umount "$container" >/dev/null
    buildah rm "$container" >/dev/null
    return "$status"
}

check() {
    echo "image-test: $1"
}

# Everything a user does first, each as a user that the image does not know or does.
try() {
    scratch=$(mktemp -d)
    chmod 777 "$scratch"
    cp docker/my_demo.py docker/no_cma.py "$scratch"

    check "the main demo on 2 ranks"
    run demo

    check "a script in a mounted folder, 4 ranks, a user without a name, no cross-memory attach"
    run -u 4321:4321 -v "$scratch" python no_cma.py mpiexec -n 4 python my_demo.py
    owner=$(stat -c %u "$scratch/force.csv")
    [ "$owner" = 4321 ] || fail "force.csv belongs to user $owner instead of 4321."

    check "self-test on 2 ranks, another user, a read-only image"
    run -u 54321:54321 -r selftest

    check "wrong use"
    if said=$(run nonsense 2>&1); then
        fail "a command that does not exist was accepted."
    fi
    case $said in
    *"usage: docker run"*) ;;
    *) fail "wrong use does not print the usage: $said" ;;
    esac
    rm -rf "$scratch"
    echo "image-test: all passed ($engine)"
}

case ${1:-} in
build) build ;;
test) try ;;
*) fail "say build or test: make image, make image-test." ;;
esac
