"""Laws in files: one JSON file with all parameters, weights and metadata, and no code.

A file is what is left of a fit or of a training, for other people and for later. It holds names of
classes of this library, numbers, and what is known about them: units, covariance, training range,
a hash of the data, errors, versions. The law comes back bit for bit, and nothing in a file can be
executed: classes of your own are given by whoever reads it, and are never imported by their name.

A checksum finds files that were damaged or edited by hand. It is no signature: whoever can write
the file can write another law.
"""

import dataclasses
import datetime
import hashlib
import importlib.metadata
import json
import os
import platform
import secrets
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dolfinx_admat.errors import MaterialError
from dolfinx_admat.materials import Material
from dolfinx_admat.materials._declare import as_numbers, require_float64

from ._law_content import Description, Reader, same

FORMAT, VERSION = "dolfinx_admat law", 1
_LARGEST_FILE = 2**30  # bytes
_KEYS = {
    "format": str, "version": int, "checksum": str, "versions": dict, "date": str, "needs": list,
    "metadata": dict, "law": dict,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class LawFile:
    """What a law file says about its law.

    Attributes:
        law_class: Name of the law's class.
        needs: Names of classes and functions that ``load_law`` must be given as ``known``.
        versions: Of dolfinx_admat, jax, equinox, numpy and python, when it was written.
        date: When it was written, UTC.
        units: As given to ``save_law``; so are all below. None: not given.
        fitted: Names of the fitted parameters.
        covariance: Their covariance; (n, n).
        training_range: Least and largest values of the data, by quantity.
        data_hash: Hash of the data.
        errors: Errors of the fit.
        notes: Anything else.
    """

    law_class: str
    needs: tuple[str, ...]
    versions: dict[str, str]
    date: str
    units: Mapping[str, str] | None = None
    fitted: Sequence[str] | None = None
    covariance: np.ndarray | None = None
    training_range: Mapping[str, tuple[Any, Any]] | None = None
    data_hash: str | None = None
    errors: Mapping[str, Any] | None = None
    notes: Any = None


def save_law(
    path: str | Path,
    law: Material,
    *,
    units: Mapping[str, str] | None = None,
    fitted: Sequence[str] | None = None,
    covariance: Any = None,
    training_range: Mapping[str, tuple[Any, Any]] | None = None,
    data_hash: str | None = None,
    errors: Mapping[str, Any] | None = None,
    notes: Any = None,
) -> Path:
    """Write a law and what is known about it into one file, which holds data only.

    The file appears whole or not at all; one that is there is replaced. Not collective: in a
    parallel run one rank saves.

    Args:
        path: The file, by custom ``NAME.json``.
        law: The law: its classes are those of the library, layers of ``equinox.nn``, or your own;
            its functions those of ``jax.nn``, or your own from the top of a module.
        units: Units by quantity, e.g. ``{"stress": "MPa", "time": "s"}``.
        fitted: Names of the parameters that were fitted, e.g. ``["hardening.Q"]``.
        covariance: Covariance of these; (n, n), in their order.
        training_range: Least and largest values in the data, by quantity, e.g.
            ``{"strain": (low, high)}`` with numbers or arrays.
        data_hash: Hash of the data that the law was made from.
        errors: What was left, e.g. ``{"rms": 1.2}``.
        notes: Text, numbers, arrays, or dicts and lists of them.

    Returns:
        The file.

    Raises:
        MaterialError: The law holds what is no data (a lambda, ...), or an argument is wrong.
            Nothing has been written.
    """
    path = Path(path)
    if not isinstance(law, Material):
        raise MaterialError(f"save_law: expected a law; got {type(law).__name__}")
    require_float64()
    if isinstance(fitted, str):
        raise MaterialError(f"save_law: fitted must be a list of names; got {fitted!r}")
    if fitted is not None:
        fitted = tuple(str(name) for name in fitted)
    if covariance is not None:
        covariance = _checked_covariance(np.asarray(covariance, dtype=float), fitted)
    metadata = {
        "units": units, "fitted": fitted, "covariance": covariance,
        "training_range": training_range, "data_hash": data_hash, "errors": errors, "notes": notes,
    }  # fmt: skip
    for name in ("units", "training_range", "errors"):
        if metadata[name] is not None:
            metadata[name] = _checked_mapping(name, metadata[name])
    name, described = type(law).__name__, Description()
    content = {
        "format": FORMAT,
        "version": VERSION,
        "versions": _versions(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "law": described.of(law, name),
        "needs": list(described.needed),
        "metadata": {key: Description(objects=False).of(v, key) for key, v in metadata.items()},
    }
    content["checksum"] = _checksum(content)
    text = _text(content)
    # Numbers that were put into the law since it was made become float64 arrays, as all do.
    if not same(_law_of(json.loads(text), described.needed.values()), as_numbers(law)):
        raise MaterialError(
            f"save_law: {name} does not come back as it was; does a class of its own change its "
            "fields when it is made? Nothing was written"
        )
    _write(path, text)
    return path


def load_law(path: str | Path, known: Iterable[Any] = ()) -> Any:
    """Read the law of a file.

    Args:
        path: The file.
        known: Classes (and functions) of your own that the law is made of; ``LawFile.needs`` has
            their names. Nothing is imported by a name in a file.

    Returns:
        The law, bit for bit as it was saved; its own checks have run.

    Raises:
        MaterialError: The file cannot be read, is damaged, of another kind or of a newer version,
            names what is not known, or its values are not admissible.
    """
    require_float64()
    content = _read(Path(path))
    try:
        return _law_of(content, known)
    except MaterialError as error:
        raise MaterialError(f"{path}: {error}") from error
    except RecursionError as error:
        raise MaterialError(f"{path}: nested too deeply for a law") from error


def read_law_file(path: str | Path) -> LawFile:
    """Read what a file says about its law, without making the law.

    Args:
        path: The file.

    Raises:
        MaterialError: As ``load_law``, as far as it concerns the file and the metadata.
    """
    content = _read(Path(path))
    try:
        reader = Reader()
        found = {key: reader.value(v, f"metadata.{key}") for key, v in content["metadata"].items()}
        return LawFile(
            str(content["law"].get("class")),
            tuple(map(str, content["needs"])),
            content["versions"],
            content["date"],
            **found,
        )
    except (MaterialError, TypeError) as error:
        raise MaterialError(f"{path}: metadata: {error}") from error
    except RecursionError as error:
        raise MaterialError(f"{path}: nested too deeply for metadata") from error


def _law_of(content: dict[str, Any], known: Iterable[Any]) -> Material:
    law = Reader(known).value(content["law"], str(content["law"].get("class", "law")))
    if not isinstance(law, Material):
        raise MaterialError(f"expected a law; got {type(law).__name__}")
    return law


def _checked_covariance(matrix: np.ndarray, fitted: tuple[str, ...] | None) -> np.ndarray:
    if fitted is None:
        raise MaterialError(
            "save_law: covariance needs the names of its parameters as well: fitted=[...]"
        )
    expected = (len(fitted), len(fitted))
    if matrix.shape != expected or not np.allclose(matrix, matrix.T, rtol=1e-6, equal_nan=True):
        raise MaterialError(
            f"save_law: covariance must be a symmetric matrix {expected}, one row for each of "
            f"fitted={list(fitted)}; got shape {matrix.shape}"
        )
    return matrix


def _checked_mapping(name: str, given: Any) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise MaterialError(f"save_law: {name} must be a dict; got {given!r}")
    return dict(given)


def _versions() -> dict[str, str]:
    from dolfinx_admat import __version__

    others = {name: importlib.metadata.version(name) for name in ("jax", "equinox", "numpy")}
    return {"dolfinx_admat": __version__, **others, "python": platform.python_version()}


# -- The file --------------------------------------------------------------------------------


def _checksum(content: dict[str, Any]) -> str:
    """Of all but itself, however it is laid out."""
    counted = {key: value for key, value in content.items() if key != "checksum"}
    text = json.dumps(counted, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _text(content: dict[str, Any]) -> str:
    """One line for each key at the top."""
    lines = [f"{json.dumps(k)}: {json.dumps(content[k], allow_nan=False)}" for k in _KEYS]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        try:
            with open(temporary, "x", encoding="ascii") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise MaterialError(f"{path}: cannot be written: {error.strerror}") from error


def _read(path: Path) -> dict[str, Any]:
    """The content of a file that is whole, ours, and of a version that we know."""
    try:
        with open(path, "rb") as stream:
            data = stream.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise MaterialError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > _LARGEST_FILE:
        raise MaterialError(f"{path}: no law file: larger than {_LARGEST_FILE} bytes")
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise MaterialError(
            f"{path}: no law file, or not all of it ({error}); copy or save it again"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise MaterialError(f"{path}: no law file: it does not begin as save_law writes it")
    version = content.get("version")
    if type(version) is int and version > VERSION:
        raise MaterialError(
            f"{path}: law file of version {version}, written by dolfinx_admat "
            f"{_writer(content)}; this one reads up to version {VERSION}: update dolfinx_admat"
        )
    wrong = [key for key, kind in _KEYS.items() if type(content.get(key)) is not kind]
    if wrong or version != VERSION:
        raise MaterialError(f"{path}: damaged: {', '.join(wrong) or 'version'} missing or wrong")
    try:
        found = _checksum(content)
    except (ValueError, RecursionError) as error:
        raise MaterialError(f"{path}: damaged: {error}") from error
    if found != content["checksum"]:
        raise MaterialError(
            f"{path}: damaged or edited: its checksum is {content['checksum'][:80]}, that of its "
            f"content {found}; copy it again, or change the law in Python and save it anew"
        )
    return content


def _writer(content: dict[str, Any]) -> str:
    versions = content.get("versions")
    return str(versions.get("dolfinx_admat") if isinstance(versions, dict) else None)[:80]
