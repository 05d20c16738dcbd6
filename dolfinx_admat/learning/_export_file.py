"""The file of an exported law: a zip of a description and a program."""

import hashlib
import io
import json
import os
import secrets
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dolfinx_admat.errors import MaterialError

FORMAT, VERSION = "dolfinx_admat exported law", 1
DESCRIPTION, PROGRAM = "description.json", "program.bin"
_LARGEST_FILE = 2**30  # bytes
_KEYS = {
    "format": str, "version": int, "checksum": str, "law": str, "date": str, "versions": dict,
    "platforms": list, "arguments": list, "results": list, "initial_state": dict,
    "conventions": dict, "program": dict,
}  # fmt: skip


def checksum(description: dict[str, Any]) -> str:
    """Of a description without its checksum, however it is laid out."""
    counted = {key: value for key, value in description.items() if key != "checksum"}
    text = json.dumps(counted, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def bounds_of(given: Any) -> dict[str, list] | None:
    """A ``TrainingRange``, or least and largest values by name, as plain data.

    Raises:
        MaterialError: It is something else.
    """
    if given is None:
        return None
    if hasattr(given, "to_mapping"):
        given = given.to_mapping()
    if not isinstance(given, Mapping):
        raise MaterialError(
            "export_law: training_range must be a TrainingRange, or (low, high) by name; got "
            f"{given!r}"
        )
    found = {}
    for name, pair in given.items():
        try:
            array = np.asarray(pair, float)
        except (TypeError, ValueError):
            array = np.zeros(0)
        if array.shape[:1] != (2,) or not np.isfinite(array).all():
            raise MaterialError(
                f"export_law: training_range '{name}' must be (low, high), finite; got {pair!r}"
            )
        found[str(name)] = array.tolist()
    return found


def write(path: Path, description: dict[str, Any], program: bytes) -> None:
    """Write the file whole or not at all."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        try:
            with open(temporary, "xb") as stream:
                with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
                    file.writestr(DESCRIPTION, json.dumps(description, indent=1, allow_nan=False))
                    file.writestr(PROGRAM, program)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise MaterialError(f"{path}: cannot be written: {error.strerror}") from error


def read(path: Path) -> tuple[dict[str, Any], bytes]:
    """Description and program of a file that is whole, ours, and of a version that we know."""
    try:
        with open(path, "rb") as stream:
            data = stream.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise MaterialError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > _LARGEST_FILE:
        raise MaterialError(f"{path}: no exported law: larger than {_LARGEST_FILE} bytes")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            sizes = {entry.filename: entry.file_size for entry in file.infolist()}
            if sorted(sizes) != sorted((DESCRIPTION, PROGRAM)) or len(file.infolist()) != 2:
                raise MaterialError(f"{path}: no exported law: it holds {sorted(sizes)[:5]}")
            if sum(sizes.values()) > _LARGEST_FILE:
                raise MaterialError(f"{path}: no exported law: larger than {_LARGEST_FILE} bytes")
            description, program = json.loads(file.read(DESCRIPTION)), file.read(PROGRAM)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise MaterialError(
            f"{path}: no exported law, or not all of it ({error}); copy or export it again"
        ) from error
    except (ValueError, RecursionError, OSError) as error:
        raise MaterialError(f"{path}: damaged: {error}") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise MaterialError(f"{path}: no exported law: its description is of another kind")
    version = description.get("version")
    if type(version) is int and version > VERSION:
        raise MaterialError(
            f"{path}: exported law of version {version}; this one reads up to version {VERSION}: "
            "update dolfinx_admat"
        )
    wrong = [key for key, kind in _KEYS.items() if type(description.get(key)) is not kind]
    if wrong or version != VERSION:
        raise MaterialError(f"{path}: damaged: {', '.join(wrong) or 'version'} missing or wrong")
    try:
        found = checksum(description)
    except (ValueError, RecursionError) as error:
        raise MaterialError(f"{path}: damaged: {error}") from error
    if found != description["checksum"]:
        raise MaterialError(f"{path}: damaged or edited: the checksum of its description is wrong")
    if hashlib.sha256(program).hexdigest() != description["program"].get("sha256"):
        raise MaterialError(f"{path}: damaged: the program is not the one of the description")
    return description, program
