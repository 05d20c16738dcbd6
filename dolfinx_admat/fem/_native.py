"""Compiler flags for the C that FFCx writes for us."""

import platform
from typing import Any

import dolfinx.jit

from .._compiler import machine_digest

_OPTION = "cffi_extra_compile_args"


def jit_options(given: dict[str, Any] | None) -> dict[str, Any]:
    """The given options, with flags for this machine if nobody has chosen any.

    Flags in ``given`` or in a ``dolfinx_jit_options.json`` are left alone. None of ours changes
    what NaN means. FFCx finds a library by its flags, so one of them names the instruction set: a
    home that different machines share then holds a library for each.
    """
    chosen = dolfinx.jit.get_options(given)[_OPTION]
    if chosen != dolfinx.jit.DOLFINX_DEFAULT_JIT_OPTIONS[_OPTION][0]:
        return dict(given or {})
    option = "-mcpu" if platform.machine() in ("ppc64le", "ppc64", "arm64") else "-march"
    flags = [
        "-O3",
        "-g0",
        f"{option}=native",
        "-fno-math-errno",
        "-fno-trapping-math",
        "-ffp-contract=fast",
        f"-DADMAT_MACHINE={machine_digest()}",
    ]
    return {"timeout": 120, **(given or {}), _OPTION: flags}
