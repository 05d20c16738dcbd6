"""Folders from which compiled code may be loaded: nobody else can write there.

A shared library runs with the rights of whoever loads it. So a cache folder must belong to this
user (or to root), as must everything above it, and nobody else may be able to write into it; a
shared folder with the sticky bit (such as /tmp) is fine if what we use inside it is ours alone.
"""

import errno
import functools
import grp
import logging
import os
import pwd
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from . import _runtime

_log = logging.getLogger(__name__)
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def configured() -> Path:
    """The cache folder that the environment asks for; it need not exist or be usable.

    ``$DOLFINX_ADMAT_CACHE``, else ``$XDG_CACHE_HOME/dolfinx_admat``, else
    ``~/.cache/dolfinx_admat``; where others may create files as well, a folder of this user in it.

    Raises:
        FileNotFoundError: The environment names none, and this user has no home.
    """
    user = f"dolfinx_admat-{os.geteuid()}"
    if given := os.environ.get("DOLFINX_ADMAT_CACHE"):
        asked = Path(os.path.abspath(os.path.expanduser(given)))
        return asked / user if is_shared(asked) else asked
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # the XDG rules say to ignore such a value
        base = os.path.expanduser("~/.cache")
    if not os.path.isabs(base):
        raise FileNotFoundError(errno.ENOENT, "this user has no home", base)
    return Path(base) / (user if is_shared(Path(base)) else "dolfinx_admat")


def temporary() -> Path:
    """A folder of this user for what the configured one cannot take; it need not exist."""
    return Path(tempfile.gettempdir()).absolute() / f"dolfinx_admat-{os.geteuid()}"


def folders(problems: list[str] | None = None, *, create: bool = False) -> Iterator[Path]:
    """Trusted folders that exist, best first.

    Args:
        problems: Gets one line for each folder that cannot be used.
        create: Make those that do not exist.
    """
    problems = [] if problems is None else problems
    for candidate in (configured, temporary):
        try:
            folder = candidate()
            if create:
                make_private(folder)
        except OSError as error:
            problems.append(f"{error.filename or candidate.__name__}: {error.strerror}")
            continue
        if not os.path.isdir(folder):
            continue
        reason = why_untrusted(folder)
        if reason is None:
            yield folder
            continue
        problems.append(reason)
        say_once(
            f"no code is loaded from the cache {folder}, because {reason}. `chmod -R go-w` a "
            "folder of yours, or set DOLFINX_ADMAT_CACHE to another."
        )


def make_private(folder: Path) -> None:
    """Make a folder and its parents for this user alone, whatever the umask is."""
    missing = []
    while not os.path.isdir(folder):
        missing.append(folder)
        folder = folder.parent
    for folder in reversed(missing):
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:  # another process, or something that is no folder
            if not os.path.isdir(folder):
                raise


def why_untrusted(folder: Path) -> str | None:
    """Why code must not be loaded from a folder that exists; None: it may be."""
    named, real = Path(os.path.abspath(folder)), Path(os.path.realpath(folder))
    for path in dict.fromkeys((*reversed(named.parents), named, *reversed(real.parents), real)):
        try:
            status = path.lstat()
        except OSError as error:
            return f"{path} cannot be examined ({error.strerror})"
        if status.st_uid not in _trusted_users():
            return f"{path} belongs to user {_name(status.st_uid)}, not to {_name(os.geteuid())}"
        if stat.S_ISLNK(status.st_mode):
            continue  # its owner is trusted, and so must be what it points to
        if path == real:
            if status.st_mode & OTHERS_WRITE:
                return f"others can write into {path} (mode {stat.S_IMODE(status.st_mode):04o})"
        elif _replaceable(status):
            return (
                f"others can rename what is in {path} (mode {stat.S_IMODE(status.st_mode):04o}, "
                "not sticky)"
            )
    return None


def file_is_trusted(status: os.stat_result) -> bool:
    """Whether a file belongs to a trusted user, and nobody else can write it."""
    return status.st_uid in _trusted_users() and not status.st_mode & OTHERS_WRITE


def _trusted_users() -> set[int]:
    # In a user namespace root has another number: that of the owner of /, who can do anything.
    return {0, os.geteuid(), os.lstat("/").st_uid}


def is_shared(folder: Path) -> bool:
    """Whether others may create files in a folder, but not touch those of this user."""
    try:
        mode = folder.stat().st_mode
    except OSError:
        return False
    return bool(mode & OTHERS_WRITE and mode & stat.S_ISVTX)


def _replaceable(status: os.stat_result) -> bool:
    if status.st_mode & stat.S_ISVTX:
        return False
    if status.st_mode & stat.S_IWOTH:
        return True
    return bool(status.st_mode & stat.S_IWGRP) and not _is_private_group(status.st_gid)


@functools.cache
def _is_private_group(gid: int) -> bool:
    """Whether a group is that of this user alone, as where the umask is 002."""
    try:
        user, group = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(gid)
    except KeyError:
        return False
    return group.gr_name == user and set(group.gr_mem) <= {user}


def _name(uid: int) -> str:
    try:
        return f"{pwd.getpwuid(uid).pw_name} ({uid})"
    except KeyError:
        return str(uid)


@functools.cache
def say_once(text: str) -> None:
    """Log a warning, once per process and on one rank only."""
    if _runtime.launcher_rank() == 0:
        _log.warning("dolfinx_admat: %s", text)
