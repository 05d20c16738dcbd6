#!/bin/sh
# Builds and tests the image with the engine that is there: `make image`, `make image-test`.
#   ENGINE=docker|podman|buildah  which one; BASE, JAX, EXTRA: arguments of the Dockerfile;
#   IMAGE: the tag; CA=file: a certificate that pip needs in the build
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
    revision=$(git describe --always --abbrev=40 --dirty --exclude '*' 2>/dev/null || echo unknown)
    # An address, not a folder, and without the name and password that it may hold.
    SOURCE=${SOURCE:-$(git remote get-url origin 2>/dev/null | sed -n 's#//[^@/]*@#//#; /^[a-z+]*:\/\/\|^git@/p')}
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
        "$engine" run --rm --user "$user" ${folder:+-v "$folder:/work:z"} \
            ${readonly:+--read-only --tmpfs /tmp:exec} "$image" "$@"
        ;;
    buildah) run_buildah "$@" ;;
    esac
}

# buildah has neither an entrypoint nor read-only containers: the first is named, and for the second
# all folders of the image but /tmp are mounted over themselves, read-only. /dev/shm is as small as
# Docker makes it.
run_buildah() {
    [ "$(id -u)" = 0 ] || fail "buildah runs containers as root only: use 'buildah unshare make image-test', or another engine."
    container=$(buildah from "$image")
    root=$(buildah mount "$container")
    shm=$(mktemp -d)
    mount -t tmpfs -o size=64m,mode=1777 tmpfs "$shm"
    set -- "$container" -- admat "$@"
    if [ -n "$readonly" ]; then
        for path in "$root"/*/; do
            name=$(basename "$path")
            case $name in
            dev | proc | sys | run | tmp) continue ;; # the first four are not of the image
            esac
            [ -L "${path%/}" ] || set -- -v "${path%/}:/$name:ro" "$@"
        done
    fi
    [ -z "$folder" ] || set -- -v "$folder:/work" "$@"
    status=0
    buildah run --isolation "${BUILDAH_ISOLATION:-chroot}" --user "$user" -v "$shm:/dev/shm" "$@" ||
        status=$?
    tidy_buildah
    return "$status"
}

tidy_buildah() {
    [ -n "${container:-}" ] || return 0
    umount "$shm" && rmdir "$shm"
    buildah umount "$container" >/dev/null
    buildah rm "$container" >/dev/null
    container=''
}

tidy() {
    tidy_buildah
    [ -z "${scratch:-}" ] || rm -rf "$scratch" 2>/dev/null || true
}
trap tidy EXIT
trap 'exit 130' INT TERM

check() {
    echo "image-test: $1"
}

# Everything a user does first, each as a user that the image does not know or does.
try() {
    case $engine in
    buildah) buildah inspect "$image" >/dev/null 2>&1 ;;
    *) "$engine" image inspect "$image" >/dev/null 2>&1 ;;
    esac || fail "there is no image '$image' here: run make image first."
    scratch=$(mktemp -d)
    chmod 777 "$scratch"
    cp docker/my_demo.py docker/no_cma.py "$scratch"

    check "the main demo on 2 ranks"
    run demo

    check "a script in a mounted folder, 4 ranks, a user without a name, no cross-memory attach"
    run -u 4321:4321 -v "$scratch" python no_cma.py mpiexec -n 4 python my_demo.py
    # Asked inside: where the engine runs without root, the host sees other numbers.
    run -u 4321:4321 -v "$scratch" sh -c 'test "$(stat -c %u force.csv)" = 4321' ||
        fail "force.csv does not belong to the user who ran the script."

    check "self-test on 2 ranks, another user, a read-only image"
    run -u 54321:54321 -r selftest
    run -u 54321:54321 -r sh -c 'for folder in /work /opt /var/cache/jit "$HOME"; do
        ! touch "$folder/probe" 2>/dev/null || exit 1
    done' || fail "the image was not read-only in the test."

    check "some of the tests of the repository"
    run test -k "image or mandel"

    check "wrong use"
    if said=$(run nonsense 2>&1); then
        fail "a command that does not exist was accepted."
    fi
    case $said in
    *"usage: docker run"*) ;;
    *) fail "wrong use does not print the usage: $said" ;;
    esac
    echo "image-test: all passed ($engine)"
}

case ${1:-} in
build) build ;;
test) try ;;
*) fail "say build or test: make image, make image-test." ;;
esac
