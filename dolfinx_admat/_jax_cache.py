"""JAX's persistent compilation cache, kept where code may be loaded from.

XLA's programs are machine code as well: an entry that somebody else wrote runs with our rights,
and one from another CPU may crash. So the folder is one of ``_trust``, named by the CPU.
"""

import os

import jax

from . import _trust
from ._compiler import machine_digest

#: Programs that compile faster are not worth a file; those of a law take longer.
_MINIMUM_SECONDS = 0.1
_NEVER = 1e9


def enable() -> None:
    """Let JAX keep what it compiles, unless the user has set its cache folder, or turned it off."""
    if os.environ.get("JAX_COMPILATION_CACHE_DIR") is not None:
        return
    if (
        jax.config.jax_compilation_cache_dir is not None
        or not jax.config.jax_enable_compilation_cache
    ):
        return
    name = f"jax-{jax.__version__}-{machine_digest()}"
    for folder in _trust.folders(create=True):
        place = folder / name
        writable = os.access(place if place.is_dir() else folder, os.W_OK)
        if not writable and not place.is_dir():
            continue
        try:
            place.mkdir(mode=0o700, exist_ok=True)
        except OSError:
            continue
        if _trust.why_untrusted(place) is not None:
            continue
        jax.config.update("jax_compilation_cache_dir", str(place))
        if not writable:  # take what is there; JAX would warn about each entry it cannot write
            jax.config.update("jax_persistent_cache_min_compile_time_secs", _NEVER)
        elif "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
            jax.config.update("jax_persistent_cache_min_compile_time_secs", _MINIMUM_SECONDS)
        return
