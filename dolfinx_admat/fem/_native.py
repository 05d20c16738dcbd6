"""Compiler flags for the C that FFCx writes for us."""

from typing import Any

import dolfinx.jit

from .._compiler import machine_digest, machine_flag

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
    flags = [
        "-O3",
        "-g0",
        machine_flag(),
        "-fno-math-errno",
        "-fno-trapping-math",
        "-ffp-contract=fast",
        f"-DADMAT_MACHINE={machine_digest()}",
    ]
    return {"timeout": 120, **(given or {}), _OPTION: flags}
