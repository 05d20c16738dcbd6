#!/bin/sh
# Makes .venv in this clone; called by `make setup`. Finds a Python, then setup_venv.py goes on.
#   DOLFINX=wheel  dolfinx from PyPI (the default)
#   DOLFINX=host   the dolfinx, MPI, petsc4py and numpy that this machine has already
#   PYTHON=...     the interpreter to use
# Both are remembered. Done once; done again only if they, pyproject.toml, these scripts or the
# place of the clone changed.
set -u
cd "$(dirname "$0")/.." || exit 1

fail() {
    printf 'setup: %s\n' "$1" >&2
    exit 1
}

stamp=.venv/admat-stamp
made=.venv/admat-made # written first, so that an interrupted setup remembers as well
last_mode=$(sed -n 's/^mode //p' "$made" 2>/dev/null)
mode=${DOLFINX:-${last_mode:-wheel}}
case $mode in
wheel | host) ;;
*) fail "DOLFINX=$mode is unknown: say DOLFINX=wheel (from PyPI, the default) or DOLFINX=host." ;;
esac

wanted() {
    echo "mode $mode"
    echo "place $PWD"
    cat pyproject.toml .ci/setup.sh .ci/setup_venv.py | cksum
}
done_already() {
    [ -f "$stamp" ] && [ -x .venv/bin/python ] || return 1
    [ "$(wanted)" = "$(cat "$stamp")" ] || return 1
    [ -z "${PYTHON:-}" ] || [ "$(command -v "$PYTHON")" = "$(sed -n 's/^python //p' "$made")" ]
}
done_already && exit 0

# One setup at a time in this clone; the lock ends with this process.
if command -v flock >/dev/null 2>&1; then
    exec 9<.ci
    flock 9
    done_already && exit 0
fi

# What an interpreter must be. Prints a verdict: ok, old, free-threaded, no-venv or no-dolfinx.
probe='
import sys
if sys.version_info < (3, 12) or sys.implementation.name != "cpython":
    print("old"); raise SystemExit
import sysconfig
from importlib.util import find_spec
if sysconfig.get_config_var("Py_GIL_DISABLED"):
    print("free-threaded"); raise SystemExit
if sys.argv[1] == "host" and find_spec("dolfinx") is None:
    print("no-dolfinx"); raise SystemExit
try:
    import ctypes, ensurepip, ssl, venv
except ImportError:
    print("no-venv"); raise SystemExit
print("ok" if sys.version_info < (3, 15) or sys.argv[1] == "host" else "new")
'

found= maybe= no_venv= no_dolfinx= old=
consider() {
    [ -n "$found" ] && return
    [ -x "$1" ] && [ ! -d "$1" ] || return
    case $1 in "$PWD"/.venv/* | .venv/*) return ;; esac
    case $("$1" -c "$probe" "$mode" 2>/dev/null) in
    ok) found=$1 ;;
    new) maybe=${maybe:-$1} ;;
    no-venv) no_venv=${no_venv:-$1} ;;
    no-dolfinx) no_dolfinx=${no_dolfinx:-$1} ;;
    old | free-threaded) old=${old:-$1} ;;
    esac
}
on_path() { # the name in every folder of PATH, not only the first: that may be a broken shim
    saved=$IFS
    IFS=:
    for folder in $PATH; do
        IFS=$saved
        consider "${folder:-.}/$1"
    done
    IFS=$saved
}

if [ -n "${PYTHON:-}" ]; then
    named=$(command -v "$PYTHON") || fail "PYTHON=$PYTHON is not a program."
    # Resolved so that a relative name still works from elsewhere.
    case $named in /*) ;; *) named=$PWD/$named ;; esac
    consider "$named"
    found=${found:-$maybe}
else
    [ "$mode" != "$last_mode" ] || consider "$(sed -n 's/^python //p' "$made")"
    if [ "$mode" = host ]; then
        [ -n "${CONDA_PREFIX:-}" ] && consider "$CONDA_PREFIX/bin/python"
        [ -n "${VIRTUAL_ENV:-}" ] && consider "$VIRTUAL_ENV/bin/python"
        on_path python3
        consider /dolfinx-env/bin/python3 # the FEniCS containers
    fi
    for name in python3 python3.12 python3.13 python3.14 python; do
        on_path "$name"
    done
    for python in \
        "${CONDA_PREFIX:-/nowhere}"/bin/python3 \
        "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[2-9]*/bin/python3 \
        "${UV_PYTHON_INSTALL_DIR:-$HOME/.local/share/uv/python}"/*/bin/python3 \
        "$HOME"/.local/bin/python3.1[2-9] \
        /usr/bin/python3.1[2-9] /usr/local/bin/python3.1[2-9] \
        /opt/*/bin/python3 /opt/python/*/bin/python3 /opt/homebrew/bin/python3.1[2-9] \
        "$HOME"/miniforge3/bin/python3 "$HOME"/mambaforge/bin/python3 \
        "$HOME"/miniconda3/bin/python3 "$HOME"/anaconda3/bin/python3 \
        "$HOME"/miniforge3/envs/*/bin/python3 "$HOME"/miniconda3/envs/*/bin/python3 \
        /opt/conda/envs/*/bin/python3; do
        consider "$python"
    done
    found=${found:-$maybe}
fi

if [ -z "$found" ]; then
    if [ "$mode" = host ] && [ -n "$no_dolfinx" ]; then
        fail "no Python >= 3.12 here can import dolfinx: activate the installation (conda activate, module load, source dolfinx-real-mode) or name its interpreter, make setup DOLFINX=host PYTHON=/path/to/python; conda-forge has it: conda install -c conda-forge \"fenics-dolfinx=0.11\" mpich \"petsc=*=real*\" c-compiler."
    elif [ -n "$no_venv" ]; then
        fail "$no_venv cannot make virtual environments: install its venv package (Debian and Ubuntu: apt install python3-venv python3-dev) and run make setup again."
    else
        fail "no suitable Python found${PYTHON:+ (PYTHON=$PYTHON)}: dolfinx_admat needs CPython 3.12 or newer (Debian and Ubuntu: apt install python3 python3-venv python3-dev), or name one, make setup PYTHON=/path/to/python3.${old:+ Found only $old.}"
    fi
fi

ADMAT_STAMP=$(wanted)
ADMAT_PYTHON=$found
export ADMAT_STAMP ADMAT_PYTHON
exec "$found" -X utf8 .ci/setup_venv.py "$mode"
