#!/bin/sh
# What the image runs; installed there as `admat`. Usage below.
set -u
source=/opt/dolfinx_admat
ranks=${NP:-2}
scratch=${TMPDIR:-/tmp}

usage() {
    cat <<'TEXT'
usage: docker run [options] IMAGE [COMMAND [arguments]]

  (none)               the main demo on 2 MPI ranks (-e NP=4: on 4)
  demo NAME            another demo; `demo list` names them
  test [arguments]     all tests, serial and on 2 and 3 ranks; arguments go to pytest
  selftest             a minute's check that the installation works, on 2 ranks
  versions             what is installed
  SCRIPT.py [...]      a script of yours, serially
  mpiexec | python | bash | any other program

Your files: -v "$PWD":/work mounts the current folder where commands run, for instance
  docker run --rm -v "$PWD":/work --user "$(id -u):$(id -g)" IMAGE mpiexec -n 4 python my_demo.py
TEXT
}

# Where a folder is mounted.
mounted_at() {
    df -P "$1" 2>/dev/null | awk 'NR == 2 { print $6 }'
}

demo() {
    name=${1:-perforated_plate}
    [ "$#" -eq 0 ] || shift
    script=$source/demos/demo_$name.py
    if [ ! -f "$script" ]; then
        case $name in list | -h | --help) ;; *) echo "admat: there is no demo '$name'; there are:" >&2 ;; esac
        for script in "$source"/demos/demo_*.py; do
            script=${script##*/demo_}
            echo "  ${script%.py}"
        done
        case $name in list | -h | --help) exit 0 ;; *) exit 2 ;; esac
    fi
    # In the working folder, or where that cannot be written, a temporary one of this user.
    folder=$(pwd)/results/$name
    [ -w . ] || folder=$scratch/admat-results-$(id -u)/$name
    mkdir -p "$folder" || exit 1
    mpiexec -n "$ranks" python "$script" --output "$folder" "$@" || exit
    [ -z "${APPTAINER_NAME:-}${SINGULARITY_NAME:-}" ] || return 0
    case $(mounted_at "$folder") in
    / | "$scratch" | overlay)
        echo "The results are inside the container, in $folder, and end with it:"
        echo "with -v \"\$PWD\":/work they are in your folder; without --rm, docker cp brings them out."
        ;;
    esac
}

tests() {
    cd "$source" || exit 1
    # Ranks that wait for each other must not spin where there are more of them than cores.
    export MPIR_CVAR_CH4_PROGRESS_THROTTLE=1 MPIR_CVAR_CH4_PROGRESS_THROTTLE_NO_PROGRESS_COUNT=64
    unset OMP_NUM_THREADS
    workers=$(nproc)
    [ "$workers" -le 8 ] || workers=8
    # Files that are named are run serially, and on ranks as well if they are made for ranks.
    serial=tests parallel=tests/mpi
    for argument in "$@"; do
        case $argument in
        tests/mpi*) serial='' parallel='' ;;
        tests/*) serial='' parallel=none ;;
        esac
    done
    passed='' failed=''
    python -m pytest -p no:cacheprovider -n "$workers" --dist worksteal $serial "$@"
    count $?
    if [ "$parallel" != none ]; then
        for n in 2 3; do
            mpiexec -n "$n" python -m pytest -p no:cacheprovider -o faulthandler_timeout=300 $parallel "$@"
            count $?
        done
    fi
    [ -n "$passed" ] && [ -z "$failed" ]
    exit
}

# Of one part of the tests: 5 says that none of them was chosen, which is no failure of the part.
count() {
    case $1 in
    0) passed=yes ;;
    5) ;;
    *) failed=yes ;;
    esac
}

# A mounted folder in which nothing can be written: say so at once, not after an hour of computing.
if [ "$(mounted_at /work)" = /work ] && [ ! -w /work ]; then
    if grep -q ' /work ro[ ,]' /proc/self/mountinfo 2>/dev/null; then
        echo "admat: /work is mounted read-only: nothing can be written there." >&2
    else
        echo "admat: /work belongs to user $(stat -c %u:%g /work), and this is user $(id -u):$(id -g):" \
            "nothing can be written there. Add --user \"\$(id -u):\$(id -g)\" to docker run" \
            "(podman: --userns=keep-id)." >&2
    fi
fi

# Compiled code needs a folder from which it may be loaded: the cache, the temporary one, the home.
loadable() {
    probe=$(mktemp "$1/.admat-XXXXXX" 2>/dev/null) || return 1
    printf '#!/bin/sh\n' >"$probe"
    chmod 700 "$probe"
    "$probe" 2>/dev/null
    status=$?
    rm -f "$probe"
    return "$status"
}
if ! loadable "${XDG_CACHE_HOME:-/var/cache/jit}" && ! loadable "$scratch" && ! loadable "$HOME"; then
    echo "admat: no folder from which compiled code can be loaded: add --tmpfs /tmp:exec, or a volume" \
        "at /var/cache/jit (-v admat-jit:/var/cache/jit)." >&2
fi
if [ ! -w "$HOME" ] && [ -z "${MPLCONFIGDIR:-}" ]; then # else matplotlib warns of it
    MPLCONFIGDIR=$(mktemp -d 2>/dev/null) && export MPLCONFIGDIR
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
    shift
    exec mpiexec -n "$ranks" python -m dolfinx_admat selftest "$@"
    ;;
versions)
    python -m dolfinx_admat || exit
    cat /opt/venv/versions.txt
    exec dpkg-query -W
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
