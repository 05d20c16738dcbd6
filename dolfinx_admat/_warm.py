"""`python -m dolfinx_admat warm SCRIPT`: fill the caches, for nodes that have no compiler."""

import os
import runpy
import sys
import time
import traceback
from pathlib import Path

from . import _jax_cache, _runtime, _trust, compilation


def run(script: str, arguments: list[str], full: bool) -> int:
    """Run a script until it solves a problem for the second time, and say what was compiled.

    Args:
        script: Path of the script.
        arguments: Its arguments.
        full: Run it to its end.

    Returns:
        The script's exit status.
    """
    if not Path(script).is_file():
        print(f"warm: there is no script {script}", file=sys.stderr)
        return 2
    start = time.time() - 1.0  # file systems keep coarser times
    _jax_cache.enable()
    _runtime.stop_at_second_solve = not full
    sys.argv = [script, *arguments]
    sys.path[0] = str(Path(script).resolve().parent)
    status, ending = 0, "ran to its end"
    try:
        runpy.run_path(script, run_name="__main__")
    except _runtime.SecondSolve:
        ending = (
            "was stopped where it began to solve a problem for the second time (for what is "
            "compiled later: `warm --full`)"
        )
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        ending = f"ended with status {status}"
    except Exception:
        traceback.print_exc()
        status, ending = 1, "FAILED; what it compiled before that is kept"
        _runtime.abort_other_ranks()
    if _runtime.launcher_rank() == 0:
        print(f"warm: {script} {ending}")
        _report(start)
    return status


def _report(start: float) -> None:
    import jax

    compilation.cache_directory()  # it exists from now on
    caches = {"kernels": (list(_trust.folders()), "*.so")}
    jit = sys.modules.get("dolfinx.jit")
    if jit is not None:
        caches["forms of FFCx"] = ([Path(jit.get_options()["cache_dir"])], "*.so")
    if jax.config.jax_compilation_cache_dir:
        caches["programs of XLA"] = ([Path(jax.config.jax_compilation_cache_dir)], "*-cache")
    for label, (folders, pattern) in caches.items():
        for folder in folders:
            found = list(folder.glob(pattern))
            new = sum(path.stat().st_mtime >= start for path in found)
            if found or folder == folders[0]:
                print(f"warm: {new} new of {len(found)} {label} in {folder}")
    if compilation.compiler() is None:
        print("warm: there is no C compiler here, so no kernels and forms could be built")
    print(
        f"warm: these serve machines with {_machines()}, this C library, the same versions of "
        "everything, and DOLFINX_ADMAT_CACHE, XDG_CACHE_HOME and HOME as here",
        flush=True,
    )


def _machines() -> str:
    march = os.environ.get("DOLFINX_ADMAT_MARCH")
    if march and march in compilation.machine():
        return f"DOLFINX_ADMAT_MARCH={march}"
    return "this CPU's instructions (others: set DOLFINX_ADMAT_MARCH, e.g. to x86-64-v3)"
