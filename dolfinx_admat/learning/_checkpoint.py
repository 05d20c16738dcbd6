"""State of a training in a file: arrays and text, no code. Written whole or not at all."""

import hashlib
import io
import json
import os
import secrets
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from dolfinx_admat._law_content import Description
from dolfinx_admat.errors import MaterialError
from dolfinx_admat.materials import Material
from dolfinx_admat.materials._declare import named_leaves

FORMAT, VERSION = "dolfinx_admat training", 1
_LARGEST_FILE = 2**31  # bytes


def law_hash(law: Material) -> str:
    """sha256 of a law's structure and numbers."""
    try:
        text = json.dumps(Description().of(law, "law"), sort_keys=True)
    except MaterialError:  # it has what no file can hold, a lambda, say: as far as it is known
        parts = [type(law).__name__]
        for name, leaf in named_leaves(law).items():
            if hasattr(leaf, "dtype"):
                array = np.asarray(leaf)
                parts.append(f"{name} {array.dtype} {array.shape} {array.tobytes().hex()}")
        text = "\n".join(parts)
    return hashlib.sha256(text.encode()).hexdigest()


def text_hash(*values: Any) -> str:
    """sha256 of names and numbers."""
    text = hashlib.sha256()
    for value in values:
        text.update(value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode())
    return text.hexdigest()


def write(path: Path, about: dict[str, Any], arrays: dict[str, Any]) -> None:
    """Write a checkpoint; one that is there is replaced.

    Raises:
        MaterialError: The file cannot be written.
    """
    header = json.dumps({"format": FORMAT, "version": VERSION, **about})
    stream = io.BytesIO()
    np.savez(stream, header=np.frombuffer(header.encode(), np.uint8), **arrays)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(temporary, "xb") as file:
                file.write(stream.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise MaterialError(f"{path}: cannot be written: {error.strerror}") from error


def read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What ``write`` was given.

    Raises:
        MaterialError: The file cannot be read, is damaged, or is no checkpoint.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise MaterialError(f"{path}: no checkpoint: larger than {_LARGEST_FILE} bytes")
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about = json.loads(arrays.pop("header").tobytes())
        if about["format"] != FORMAT or about["version"] != VERSION:
            raise ValueError(f"format {about['format']!r}, version {about['version']!r}")
    except OSError as error:
        raise MaterialError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, EOFError, NotImplementedError,
            RuntimeError, zipfile.BadZipFile, zlib.error) as error:  # fmt: skip
        raise MaterialError(
            f"{path}: no checkpoint of a training, or damaged ({str(error) or type(error).__name__}"
            "); delete it, or give another name"
        ) from error
    return about, arrays


def check_same(path: Path, found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Refuse the checkpoint of another training.

    Raises:
        MaterialError: Law, data or settings differ.
    """
    names = [k for k in {**expected, **found} if found.get(k) != expected.get(k)]
    if names:
        what = ", ".join(
            f"{k}: {_short(found.get(k))} in the file, {_short(expected.get(k))} now" for k in names
        )
        raise MaterialError(
            f"{path}: belongs to another training ({what}); give another file, or resume=False "
            "to begin anew and replace it"
        )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:18] + "..."
