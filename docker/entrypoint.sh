#!/bin/sh
# What the image runs; installed there as `admat`. Usage below.
set -u
source=/opt/dolfinx_admat
ranks=${NP:-2}

usage() {
    cat <<'TEXT'
usage: docker run [options] IMAGE [COMMAND [arguments]]

  (none)               the main demo on 2 MPI ranks (-e NP=4: on 4)
  demo NAME            another demo; `demo list` names them
  test [arguments]     all tests, serial and on 2 and 3 ranks; arguments go to pytest
  selftest             a minute's check that the installation works
  versions             what is installed
  SCRIPT.py [...]      a script of yours, serially
  mpiexec | python | bash | any other program

Your files: -v "$PWD":/work mounts the current folder where commands run, for instance
  docker run --rm -v "$PWD":/work --user "$(id -u):$(id -g)" IMAGE mpiexec -n 4 python my_demo.py
TEXT
}

# Where results go: the working folder, or where it cannot be written, the temporary one.
results() {
    if [ -w . ]; then
        printf '%s/results/%s' "$(pwd)" "$1"
    else
        printf '%s/results/%s' "${TMPDIR:-/tmp}" "$1"
    fi
}

demo() {
    name=${1:-perforated_plate}
    [ "$#" -eq 0 ] || shift
    script=$source/demos/demo_$name.py
    if [ "$name" = list ] || [ ! -f "$script" ]; then
        [ "$name" = list ] || echo "admat: there is no demo '$name'; there are:" >&2
        for script in "$source"/demos/demo_*.py; do
            script=${script##*/demo_}
            echo "  ${script%.py}"
        done
        [ "$name" = list ] && exit 0
        exit 2
    fi
    folder=$(results "$name")
    mkdir -p "$folder" || exit 1
    mpiexec -n "$ranks" python "$script" --output "$folder" "$@" || exit
    case $folder in
    /work/*) mounted /work && exit 0 ;;
    esac
    echo "The results are inside the container, in $folder. Without --rm,"
    echo "  docker cp $(cat /etc/hostname 2>/dev/null || echo CONTAINER):$folder ."
    echo "brings them out; with -v \"\$PWD\":/work they would be in your folder."
}

mounted() {
    grep -q " $1 " /proc/self/mountinfo 2>/dev/null
}

tests() {
    cd "$source" || exit 1
    # Ranks that wait for each other must not spin where there are more of them than cores.
    export MPIR_CVAR_CH4_PROGRESS_THROTTLE=1 MPIR_CVAR_CH4_PROGRESS_THROTTLE_NO_PROGRESS_COUNT=64
    unset OMP_NUM_THREADS
    status=0
    python -m pytest -p no:cacheprovider -n "$(nproc)" --dist worksteal "$@" || status=1
    for n in 2 3; do
        mpiexec -n "$n" python -m pytest -p no:cacheprovider -o faulthandler_timeout=300 tests/mpi "$@" ||
            status=1
    done
    exit "$status"
}

# A mounted folder that another user owns: say how, rather than fail after an hour of computing.
if mounted /work && [ ! -w /work ]; then
    echo "admat: /work belongs to user $(stat -c %u:%g /work), and this is user $(id -u):$(id -g):" \
        "nothing can be written there. Add --user \"\$(id -u):\$(id -g)\" to docker run" \
        "(podman: --userns=keep-id)." >&2
fi

[ "$#" -gt 0 ] || set -- demo
case $1 in
demo)
    shift
    demo "$@"
    ;;
test)
    shift
    tests "$@"
    ;;
selftest)
    exec mpiexec -n "$ranks" python -m dolfinx_admat selftest
    ;;
versions)
    python -m dolfinx_admat || exit
    exec cat /opt/venv/versions.txt
    ;;
help | -h | --help)
    usage
    ;;
*.py)
    exec python "$@"
    ;;
*)
    if command -v "$1" >/dev/null 2>&1; then
        exec "$@"
    fi
    echo "admat: '$1' is neither a command of this image nor a program in it" >&2
    usage >&2
    exit 2
    ;;
esac
