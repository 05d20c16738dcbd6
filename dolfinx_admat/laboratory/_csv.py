"""Tables of results as csv files, and back."""

import csv
import io
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

import numpy as np

from dolfinx_admat.errors import MaterialError
from dolfinx_admat.materials._declare import named_leaves

if TYPE_CHECKING:
    from .result import DriveResult


def write(result: "DriveResult", file: FilePath, time_unit: str) -> None:
    """Write a result: comment lines, names of the columns, one row per specimen and step."""
    text = io.StringIO()
    text.write(f"# law: {type(result.law).__name__}\n")
    for name, value in named_leaves(result.law).items():
        if hasattr(value, "dtype") and name not in result.parameters:
            text.write(f"# parameter {name} = {np.asarray(value).tolist()}\n")
    for name, value in result.parameters.items():
        text.write(f"# parameter {name} = {np.asarray(value).tolist()}\n")
    text.write(f"# time in {time_unit}\n" if time_unit else "")
    text.write("# components of tensors as such: xy is half of the engineering shear strain\n")
    columns: dict[str, Any] = {}
    if not result.single:
        numbers = np.arange(result.specimens)[:, None]
        columns["specimen"] = np.broadcast_to(numbers, result.times.shape)
    columns |= {name: np.atleast_2d(result[name]) for name in result.names}
    columns |= {"status": result.status, "iterations": result.iterations}
    columns["substeps"] = result.substeps
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    rows = zip(*(np.asarray(values).ravel().tolist() for values in columns.values()), strict=True)
    for row in rows:
        writer.writerow([repr(v) if isinstance(v, float) else v for v in row])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text.getvalue())


def read_csv(file: str | FilePath, *, gaps: bool = False) -> dict[str, Any]:
    """Columns of a csv file by name; comment lines (#) are skipped; (rows,) each.

    Args:
        file: The file.
        gaps: Cells may be empty, which is NaN.

    Raises:
        MaterialError: The file does not exist or is no text, a name stands twice, or something is
            no number.
    """
    file = FilePath(file)
    if not file.is_file():
        raise MaterialError(f"{file}: there is no such file")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise MaterialError(f"{file}: {error}; save it as UTF-8 text") from None
    lines = [line for line in text.splitlines() if line.strip()]
    rows = list(csv.reader(line for line in lines if not line.lstrip().startswith("#")))
    if len(rows) < 2:
        raise MaterialError(f"{file}: got {len(rows)} lines, expected a line of names, and numbers")
    header = [name.strip() for name in rows[0]]
    if len(header) == 1 and ";" in header[0]:
        raise MaterialError(f"{file}: separate values by commas (got semicolons), 0.5 not 0,5")
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise MaterialError(f"{file}: the column '{twice[0]}' stands there twice; rename one")
    for number, row in enumerate(rows[1:], start=1):
        if len(row) != len(header):
            raise MaterialError(
                f"{file}: row {number} has {len(row)} values, expected {len(header)} "
                f"({', '.join(header)})"
            )
    values = [[v if v.strip() or not gaps else "nan" for v in row] for row in rows[1:]]
    try:
        table = np.array(values, dtype=float)
    except ValueError as error:
        raise MaterialError(f"{file}: {error}; expected numbers below the names") from None
    return dict(zip(header, table.T, strict=True))
