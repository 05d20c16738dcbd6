"""C code for the element matrices of a material: tables and operators in front of _element.c."""

import ctypes
from pathlib import Path
from typing import Any, NamedTuple

import basix
import numpy as np
import numpy.typing as npt

from ._operators import Coefficient, Direction, Operators

#: Doubles per SIMD register, as the compiler knows them; it splits vectors that are too wide.
LANES = """\
#ifdef __AVX512F__
#define LANES 8
#else
#define LANES 4
#endif
#define VECTORS ((BASIS + LANES - 1) / LANES)
typedef double vec __attribute__((vector_size(8 * LANES), may_alias));
#define ALIGNED __attribute__((aligned(8 * LANES)))"""
FLAGS = ("-O3", "-fno-signed-zeros")
#: Element matrices and their factors live on the stack.
LARGEST = 2_000_000

Sizes = dict[tuple[str, str], tuple[int, int]]


class NotSupported(ValueError):
    """The element, the geometry or the rule is none that _element.c knows."""


class Tables(NamedTuple):
    """Basis functions and geometry at the points.

    Attributes:
        derivatives: Of the scalar basis functions; (points, dim, basis).
        values: (points, basis).
        geometry: Derivatives of the coordinate functions; (points, dim, nodes), one point where
            the geometry is affine.
        weights: (points,).
        affine: Whether the Jacobian is the same at all points of a cell.
        components: Of the unknown.
    """

    derivatives: npt.NDArray[np.float64]
    values: npt.NDArray[np.float64]
    geometry: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]
    affine: bool
    components: int


def tabulate(V: Any, points: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]) -> Tables:
    """Tables for a space of identically mapped scalar or vector elements.

    Raises:
        NotSupported: Another kind of element or mesh.
    """
    mesh, element = V.mesh, V.element
    if mesh.topology.dim != mesh.geometry.dim:
        raise NotSupported("the mesh is a surface or a line in space")
    if len(mesh.geometry.cmaps) != 1:
        raise NotSupported("the mesh has cells of several types")
    components = V.dofmap.bs
    try:
        scalar = element.basix_element
    except (RuntimeError, TypeError):
        raise NotSupported("the element is mixed, enriched or no basix element") from None
    expected = ((), (1,)) if components == 1 else ((components,),)
    if (
        V.dofmap.index_map_bs != components
        or tuple(element.value_shape) not in expected
        or scalar.map_type != basix.MapType.identity
        or element.needs_dof_transformations
        or V.num_sub_spaces not in (0, components)
    ):
        raise NotSupported("the space is not a blocked Lagrange space (or alike)")
    table = scalar.tabulate(1, points)[..., 0]
    cmap = mesh.geometry.cmaps[0]
    cell = mesh.basix_cell()
    coordinates = basix.create_element(
        basix.ElementFamily.P, cell, cmap.degree, basix.LagrangeVariant(cmap.variant)
    ).tabulate(1, points)[1:, :, :, 0]
    simplex = cell in (basix.CellType.interval, basix.CellType.triangle, basix.CellType.tetrahedron)
    affine = bool(simplex and cmap.degree == 1)
    return Tables(
        table[1:].transpose(1, 0, 2),
        table[0],
        coordinates.transpose(1, 0, 2)[: 1 if affine else None],
        weights,
        affine,
        components,
    )


class _Side:
    """The distinct rows of L or columns of R, and which direction has which."""

    def __init__(
        self, side: dict[Direction, dict[tuple[str, int], Coefficient]], variables: dict[Any, int]
    ) -> None:
        self.rows: list[dict[tuple[str, int], str]] = []
        self.of: dict[Direction, int] = {}
        for direction, given in sorted(side.items()):
            row = {
                key: repr(c) if isinstance(c, float) else f"v[{variables[c]}]"
                for key, c in sorted(given.items())
            }
            if row not in self.rows:
                self.rows.append(row)
            self.of[direction] = self.rows.index(row)


def write(tables: Tables, operators: Operators, sizes: Sizes) -> str:
    """The C source.

    Args:
        tables: Of the element and the rule.
        operators: L and R.
        sizes: Components of the output and of the input, by tangent block.

    Raises:
        NotSupported: The element matrix would not fit on the stack.
    """
    points, dim, basis = tables.derivatives.shape
    has_values = any(d == dim for side in (operators.left, operators.right) for _, d in side)
    variables = {c: n for n, c in enumerate(operators.variables())}
    left, right = _Side(operators.left, variables), _Side(operators.right, variables)
    k = tables.components
    size = 8 * (basis + 7) * k * (basis * k + points * len(left.rows))
    if size > LARGEST:
        raise NotSupported(f"the element matrices are too large ({size} bytes)")
    numbers = {
        "POINTS": points,
        "DIM": dim,
        "DIRECTIONS": dim + has_values,
        "BASIS": basis,
        "COMPONENTS": k,
        "NODES": tables.geometry.shape[2],
        "AFFINE": int(tables.affine),
        "ROWS": len(left.rows),
        "COLUMNS": len(right.rows),
        "VARIABLES": len(variables),
    }
    return "\n".join(
        [
            "#include <math.h>\n#include <stdint.h>\n#include <string.h>",
            *(f"#define {name} {value}" for name, value in numbers.items()),
            LANES,
            # Each row is filled up with zeros.
            _table("DERIVATIVES", "[POINTS][DIM][LANES * VECTORS] ALIGNED", tables.derivatives),
            _table("VALUES", "[POINTS][LANES * VECTORS] ALIGNED", tables.values),
            _table("GEOMETRY", f"[{len(tables.geometry)}][DIM][NODES]", tables.geometry),
            _table("WEIGHTS", "[POINTS]", tables.weights),
            _fold(left, right, {block: sizes[block] for block in operators.blocks}),
            _right(right, k, dim + has_values),
            _left(left, k, dim + has_values),
            Path(__file__).with_suffix(".c").read_text("utf-8"),
        ]
    )


def _table(name: str, shape: str, values: npt.NDArray[np.float64]) -> str:
    def braces(array: Any) -> str:
        if np.ndim(array) == 0:
            return repr(float(array))
        return "{" + ", ".join(braces(a) for a in array) + "}"

    return f"static const double {name}{shape} = {braces(values)};"


def _fold(left: _Side, right: _Side, sizes: Sizes) -> str:
    """C[row][column] = s sum L T R, with the zeros of L and R left out."""
    names = {block: f"t{n}" for n, block in enumerate(sizes)}
    used = list(dict.fromkeys(key for column in right.rows for key in column))
    lines = [
        "static inline void fold(double s, const double *const *T, int64_t p, const double *v,",
        "                        double C[ROWS][COLUMNS])",
        "{",
    ]
    for n, (block, name) in enumerate(names.items()):
        lines.append(f"  const double *{name} = T[{n}] + p * {sizes[block][0] * sizes[block][1]};")
    for r, row in enumerate(left.rows):
        lines.append("  {")
        for n, (key, j) in enumerate(used):
            terms = [
                f"{c} * {names[output, key]}[{i * sizes[output, key][1] + j}]"
                for (output, i), c in row.items()
            ]
            lines.append(f"    const double c{n} = s * ({' + '.join(terms)});")
        for n, column in enumerate(right.rows):
            total = " + ".join(f"{c} * c{used.index(key)}" for key, c in column.items())
            lines.append(f"    C[{r}][{n}] = {total};")
        lines.append("  }")
    return "\n".join([*lines, "}"])


def _right(right: _Side, components: int, directions: int) -> str:
    lines = [
        "static inline void right(const double *c, vec g[DIRECTIONS][VECTORS],",
        "                         vec m[COMPONENTS][VECTORS])",
        "{",
        "  for (int n = 0; n < VECTORS; ++n)",
        "  {",
    ]
    for j in range(components):
        terms = [
            f"c[{right.of[j, d]}] * g[{d}][n]" for d in range(directions) if (j, d) in right.of
        ]
        lines.append(f"    m[{j}][n] = {' + '.join(terms) or '(vec){0}'};")
    return "\n".join([*lines, "  }", "}"])


def _left(left: _Side, components: int, directions: int) -> str:
    lines = [
        "static inline void left(const double *g, vec m[ROWS][COMPONENTS][VECTORS], int j,",
        "                        vec a[COMPONENTS][VECTORS])",
        "{",
        "#pragma GCC unroll 8",
        "  for (int n = 0; n < VECTORS; ++n)",
        "  {",
        *(f"    const vec m{r} = m[{r}][j][n];" for r in range(len(left.rows))),
    ]
    for (i, d), row in left.of.items():
        # One term at a time: a sum of products would cost an addition more.
        lines.append(f"    a[{i}][n] += g[{d}] * m{row};")
    return "\n".join([*lines, "  }", "}"])


class _Source(ctypes.Structure):
    _fields_ = (
        ("cells", ctypes.c_void_p),
        ("rows", ctypes.c_void_p),
        ("dofs", ctypes.c_void_p),
        ("nodes", ctypes.c_void_p),
        ("x", ctypes.c_void_p),
        ("tangents", ctypes.c_void_p),
    )


class Target(ctypes.Structure):
    """Where the entries go; ``target`` in _element.c."""

    _fields_ = (
        ("diagonal", ctypes.c_void_p),
        ("offdiagonal", ctypes.c_void_p),
        ("ghosts", ctypes.c_void_p),
        ("diagonal_stride", ctypes.c_void_p),
        ("offdiagonal_stride", ctypes.c_void_p),
        ("fixed", ctypes.c_void_p),
        ("owned", ctypes.c_int32),
    )


class ElementKernel:
    """Element matrices of one material on some cells, computed and added in one loop.

    Args:
        V: Space of the unknown.
        cells: Cells; int32, local indices.
        rows: Row of each cell in the buffers of the tangents; int32.
        library: What ``write`` gave, compiled.
        tangents: Gives the buffers of the tangents, in the order of ``Operators.blocks``.

    All methods are local.
    """

    def __init__(
        self,
        V: Any,
        cells: npt.NDArray[np.int32],
        rows: npt.NDArray[np.int32],
        library: ctypes.CDLL,
        tangents: Any,
    ) -> None:
        self.cells, self._rows, self._tangents = cells, rows, tangents
        self.dofs = np.ascontiguousarray(V.dofmap.list, dtype=np.int32)
        self._geometry = V.mesh.geometry
        self._nodes = np.ascontiguousarray(self._geometry.dofmaps[0], dtype=np.int32)
        self._add, self._lift = library.add, library.lift
        pointer, size = ctypes.c_void_p, ctypes.c_int64
        self._add.argtypes = [size, size, pointer, pointer, pointer, pointer]
        self._lift.argtypes = [size, pointer, pointer, pointer, pointer, pointer]

    def add(
        self,
        begin: int,
        end: int,
        variables: npt.NDArray[np.float64] | None,
        slots: npt.NDArray[np.int32],
        target: Target,
    ) -> None:
        """Add cells ``begin`` to ``end`` to a matrix.

        Args:
            begin: First of the cells.
            end: Behind the last one.
            variables: Coefficients of these cells that are no numbers; (cells, points, count).
            slots: Of all cells; see ``_element.c``.
            target: The matrix.
        """
        source, keep = self._source()
        self._add(
            begin,
            end,
            ctypes.byref(source),
            address(variables),
            address(slots),
            ctypes.byref(target),
        )
        del keep

    def lift(
        self,
        which: npt.NDArray[np.int64],
        variables: npt.NDArray[np.float64] | None,
        d: npt.NDArray[np.float64],
        b: npt.NDArray[np.float64],
    ) -> None:
        """Add the element matrices times ``d`` to ``b``.

        Args:
            which: Positions of the cells.
            variables: As for ``add``.
            d: Vector of local unknowns, ghosts included.
            b: The same shape.
        """
        source, keep = self._source()
        self._lift(
            len(which),
            address(which),
            ctypes.byref(source),
            address(variables),
            address(d),
            address(b),
        )
        del keep

    def _source(self) -> tuple[_Source, Any]:
        buffers = self._tangents()
        pointers = (ctypes.c_void_p * len(buffers))(*(address(b) for b in buffers))
        x = self._geometry.x
        source = _Source(
            address(self.cells),
            address(self._rows),
            address(self.dofs),
            address(self._nodes),
            address(x),
            ctypes.addressof(pointers),
        )
        return source, (buffers, pointers, x)


def address(array: npt.NDArray[Any] | None) -> int | None:
    """Where the data of a C-contiguous array lie."""
    if array is None:
        return None
    if not array.flags.c_contiguous:
        raise ValueError("the array is not contiguous")
    return array.ctypes.data
