"""FFCx's cache of compiled forms, moved where dolfinx's default cannot be used or trusted.

dolfinx loads what it finds in ``$XDG_CACHE_HOME/fenics`` or ``~/.cache/fenics``. That folder is
left alone where it is as safe as our own. A folder that the user has chosen (``jit_options`` or
``dolfinx_jit_options.json``) is the user's business. FFCx's default flags name no CPU, so what it
compiles runs on all CPUs of this architecture.
"""

import logging
import os
from pathlib import Path

import dolfinx.jit

from .. import _trust
from ..compilation import compiler

_log = logging.getLogger(__name__)


def configure() -> None:
    """Give FFCx another default folder if its own will not do. Collective: no."""
    default, text = dolfinx.jit.DOLFINX_DEFAULT_JIT_OPTIONS["cache_dir"]
    if dolfinx.jit.get_options()["cache_dir"] != Path(default):
        return
    reasons = [why_unusable(Path(default))]
    if reasons[0] is None:
        return
    # The home last: read-only containers may have nothing else from which code can be loaded.
    folders = [*_trust.folders(create=True), Path("~/.cache/dolfinx_admat").expanduser()]
    for place in dict.fromkeys(folder / "fenics" for folder in folders if folder.is_absolute()):
        reasons.append(why_unusable(place))
        if reasons[-1] is None:
            dolfinx.jit.DOLFINX_DEFAULT_JIT_OPTIONS["cache_dir"] = (place, text)
            _log.info("FFCx keeps compiled forms in %s, because %s", place, reasons[0])
            return
    _trust.say_once(
        f"FFCx has no folder for compiled forms ({'; '.join(filter(None, reasons))}); set "
        "DOLFINX_ADMAT_CACHE to a folder of yours from which programs may be run"
    )


def why_unusable(folder: Path) -> str | None:
    """Why FFCx cannot work in a folder, or must not; made if it can be. None: it can."""
    existed = folder.is_dir()
    if not existed and _trust.is_shared(folder.parent):
        return f"{folder.parent} is shared with other users"
    try:
        _trust.make_private(folder)
    except OSError as error:
        return f"{error.filename or folder}: {error.strerror}"
    reason = _trust.why_untrusted(folder)
    if reason is not None:
        return reason
    if os.statvfs(folder).f_flag & os.ST_NOEXEC:
        return f"{folder} is on a file system mounted noexec"
    # What is there serves nodes without a compiler; those with one can also build what is not.
    if not os.access(folder, os.W_OK) and compiler() is not None:
        return f"{folder} is read-only"
    return None
