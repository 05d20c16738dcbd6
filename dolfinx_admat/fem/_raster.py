"""A small software renderer: shaded triangles with a depth buffer, and their edges. Serial."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_SAMPLES = 2  # subpixels per pixel and direction
_CREASE = np.cos(np.radians(30.0))  # a sharper edge is an outline, a blunter one is shaded smoothly
_LIGHT = np.array([-0.35, 0.5, 0.8]) / np.linalg.norm([-0.35, 0.5, 0.8])  # right, up, to the eye
_GREY = np.array([0.72, 0.74, 0.78])

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Surface:
    """Triangles: their corners at rest and moved, values at the corners, and their edges.

    Attributes:
        rest: Corners of the undeformed body, (n, 3, 3).
        moved: Corners as they are drawn, (n, 3, 3).
        values: Values at the corners, (n, 3); grey where they are not finite.
        real: Whether the edge opposite to each corner is one of the mesh, (n, 3).
    """

    rest: Floats
    moved: Floats
    values: Floats
    real: npt.NDArray[np.bool_]

    @classmethod
    def join(cls, parts: Sequence["Surface"]) -> "Surface":
        """Put the triangles of several surfaces into one."""
        return cls(
            np.concatenate([part.rest for part in parts]),
            np.concatenate([part.moved for part in parts]),
            np.concatenate([part.values for part in parts]),
            np.concatenate([part.real for part in parts]),
        )

    def turned_away_from(self, inside: Floats) -> "Surface":
        """The same triangles, their normals turned away from the points `inside`, (n, 3)."""
        outward = np.einsum("ti,ti->t", _normals(self.rest), self.rest.mean(axis=1) - inside)
        order = np.where(outward[:, None] < 0.0, [0, 2, 1], [0, 1, 2])
        return self._take((np.arange(len(order))[:, None], order))

    def mirrored(self, axis: int) -> "Surface":
        """The surface and its mirror image; triangles in the mirror plane are dropped."""
        size = np.abs(self.rest).max(initial=1e-300)
        kept = self._take(np.any(np.abs(self.rest[..., axis]) > 1e-9 * size, axis=1))
        sign = np.where(np.arange(3) == axis, -1.0, 1.0)
        image = Surface(kept.rest * sign, kept.moved * sign, kept.values, kept.real)
        return Surface.join([kept, image._take((slice(None), [0, 2, 1]))])

    def _take(self, index: Any) -> "Surface":
        return Surface(self.rest[index], self.moved[index], self.values[index], self.real[index])


@dataclass(frozen=True)
class Picture:
    """Pixels (height, width, 3) in 0..1, and the colour map with its limits."""

    pixels: Floats
    cmap: str
    limits: tuple[float, float]


def shade(
    surface: Surface,
    view: tuple[float, float],
    limits: tuple[float, float] | None,
    cmap: str,
    *,
    edges: bool,
    width: int,
) -> Picture:
    """Draw a surface as seen from far away (orthographic), at elevation and azimuth `view`."""
    import matplotlib

    if len(surface.rest) == 0:
        raise ValueError("render: the mesh has no boundary facets to show.")
    if not np.all(np.isfinite(surface.moved)):
        raise ValueError("render: the displacement is not finite.")
    if cmap not in matplotlib.colormaps:
        raise ValueError(f"render: matplotlib has no colour map named {cmap!r}.")
    low, high = limits if limits is not None else _range(surface.values)

    camera = _camera(*view)
    corners, shape = _to_pixels(surface.moved @ camera.T, width * _SAMPLES)
    planes = _barycentric_planes(corners)
    vertices = _vertices(surface.rest)
    paint = _Paint(
        planes=planes,
        heights=1.0 / np.linalg.norm(planes[..., :2], axis=2) / _SAMPLES,
        normals=_corner_normals(surface.moved, vertices) @ camera.T,
        levels=(surface.values - low) / (high - low),
        colours=matplotlib.colormaps[cmap](np.linspace(0.0, 1.0, 1024))[:, :3],
        thin=surface.real if edges else np.zeros_like(surface.real),
        thick=_outlines(surface.rest, vertices),
    )
    triangle = _visible(corners, planes, shape)
    band = 64 * _SAMPLES  # rows that are painted at once, which bounds the memory
    bands = [paint(triangle[row : row + band], row) for row in range(0, shape[0], band)]
    return Picture(np.concatenate(bands), cmap, (float(low), float(high)))


@dataclass(frozen=True)
class _Paint:
    """What the colour of a point of a triangle depends on; the first axis is the triangle.

    Attributes:
        planes: Coefficients of the barycentric weights, (n, 3, 3).
        heights: Height of each corner above the opposite edge in pixels, (n, 3).
        normals: Normals at the corners in camera axes, (n, 3, 3).
        levels: Values at the corners, scaled to 0..1, (n, 3); not finite: grey.
        colours: The colour map as a table, (m, 3).
        thin: Edges to be drawn thin, (n, 3).
        thick: Edges to be drawn as outlines, (n, 3).
    """

    planes: Floats
    heights: Floats
    normals: Floats
    levels: Floats
    colours: Floats
    thin: npt.NDArray[np.bool_]
    thick: npt.NDArray[np.bool_]

    def __call__(self, triangle: npt.NDArray[np.int32], first_row: int) -> Floats:
        """Colour the subpixels (rows, columns) of a band; returns its pixels."""
        rows, columns = np.nonzero(triangle >= 0)
        which = triangle[rows, columns]
        at = np.stack([columns + 0.5, first_row + rows + 0.5, np.ones(len(rows))], axis=1)
        weight = np.einsum("pkj,pj->pk", self.planes[which], at)

        normal = np.einsum("pk,pki->pi", weight, self.normals[which])
        normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-300
        colour = np.tile(_GREY, (len(which), 1))
        level = np.einsum("pk,pk->p", weight, self.levels[which])
        known = np.isfinite(level)
        last = len(self.colours) - 1
        colour[known] = self.colours[(np.clip(level[known], 0.0, 1.0) * last).astype(int)]
        # A face that looks at the eye has exactly the colours of the colour bar.
        brightness = 0.65 + 0.35 * np.abs(normal @ _LIGHT) / _LIGHT[2]
        colour *= np.minimum(brightness, 1.0)[:, None]

        distance = weight * self.heights[which]
        colour[np.any((distance < 0.4) & self.thin[which], axis=1)] *= 0.75
        colour[np.any((distance < 0.9) & self.thick[which], axis=1)] = 0.15

        pixels = np.ones((*triangle.shape, 3))
        pixels[rows, columns] = colour
        blocks = pixels.reshape(-1, _SAMPLES, triangle.shape[1] // _SAMPLES, _SAMPLES, 3)
        return blocks.mean(axis=(1, 3))


def _range(values: Floats) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    if high - low > 1e-12 * max(abs(high), abs(low)):
        return float(low), float(high)
    margin = 0.5 * abs(high) or 1.0
    return float(low - margin), float(high + margin)


def write_picture(path: Path, picture: Picture, title: str, label: str | None) -> None:
    """Write the pixels with a title and, if there is a label, a colour bar as PNG."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    dpi = 200
    height, width = np.array(picture.pixels.shape[:2]) / dpi
    wide = width > 1.3 * height
    above = 0.45 if title else 0.1
    right, below = (0.1, 0.75) if wide else (1.1, 0.1)
    if label is None:
        right = below = 0.1
    size = np.array([width + 0.1 + right, above + height + below])
    figure = Figure(figsize=tuple(size), dpi=dpi)

    def axes(left: float, bottom: float, wide: float, high: float) -> Any:
        return figure.add_axes((left / size[0], bottom / size[1], wide / size[0], high / size[1]))

    canvas = axes(0.1, below, width, height)
    canvas.imshow(picture.pixels, interpolation="none")
    canvas.axis("off")
    if title:
        figure.text(0.5, 1.0 - 0.27 / size[1], title, ha="center", va="center", fontsize=11)
    if label is not None:
        if wide:
            bar = axes(0.1 + 0.25 * width, 0.48, 0.5 * width, 0.13)
        else:
            bar = axes(0.1 + width + 0.1, 0.1 + 0.15 * height, 0.14, 0.7 * height)
        figure.colorbar(
            ScalarMappable(Normalize(*picture.limits), picture.cmap),
            cax=bar,
            orientation="horizontal" if wide else "vertical",
            label=label,
        )
        bar.tick_params(labelsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _camera(elevation: float, azimuth: float) -> Floats:
    """Rows: unit vectors to the right, upwards, and towards the eye."""
    e, a = np.radians([elevation, azimuth])
    right = np.array([-np.sin(a), np.cos(a), 0.0])
    eye = np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
    return np.array([right, np.cross(eye, right), eye])


def _to_pixels(points: Floats, width: int) -> tuple[Floats, tuple[int, int]]:
    """Scale so that the body fills the width, rows downwards; corners and picture shape."""
    low, high = points.min(axis=(0, 1)), points.max(axis=(0, 1))
    extent = np.maximum(high - low, 1e-9 * np.max(high - low) + 1e-300)
    margin = 0.01 * width
    scale = (width - 2 * margin) / max(extent[0], 1.2 * extent[1])  # a tall body: a narrow picture
    shape = np.ceil((scale * extent[[1, 0]] + 2 * margin) / _SAMPLES).astype(int) * _SAMPLES
    corners = (points - low) * scale + margin
    corners[..., 1] = shape[0] - corners[..., 1]
    return corners, (int(shape[0]), int(shape[1]))


def _barycentric_planes(corners: Floats) -> Floats:
    """Coefficients (n, 3, 3): the weight of corner k at (x, y) is planes[n, k] . (x, y, 1)."""
    after, last = corners[:, [1, 2, 0], :2], corners[:, [2, 0, 1], :2]
    planes = np.stack(
        [
            after[..., 1] - last[..., 1],
            last[..., 0] - after[..., 0],
            after[..., 0] * last[..., 1] - last[..., 0] * after[..., 1],
        ],
        axis=-1,
    )
    area = planes[..., 2].sum(axis=1)  # twice the area, with a sign; 0 seen edge on
    return planes / np.where(np.abs(area) > 1e-9, area, np.nan)[:, None, None]


def _visible(corners: Floats, planes: Floats, shape: tuple[int, int]) -> npt.NDArray[np.int32]:
    """The foremost triangle of each pixel, -1 where there is none."""
    depth = np.full(shape, -np.inf)
    triangle = np.full(shape, -1, np.int32)
    low = np.floor(corners[..., :2].min(axis=1)).astype(int)
    high = np.ceil(corners[..., :2].max(axis=1)).astype(int)
    drawable = np.flatnonzero(np.isfinite(planes[:, 0, 0]))
    for index in drawable:
        (x0, y0), (x1, y1) = low[index], high[index]
        x, y = np.arange(x0, x1) + 0.5, np.arange(y0, y1) + 0.5
        a, b, c = planes[index].T[:, :, None, None]
        weight = a * x + (b * y[:, None] + c)  # (3, rows, columns)
        z = np.tensordot(corners[index, :, 2], weight, axes=1)
        front = (weight.min(axis=0) >= -1e-9) & (z > depth[y0:y1, x0:x1])
        depth[y0:y1, x0:x1][front] = z[front]
        triangle[y0:y1, x0:x1][front] = index
    return triangle


def _normals(triangles: Floats) -> Floats:
    """Unit normals, (n, 3)."""
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    return normals / (np.linalg.norm(normals, axis=1, keepdims=True) + 1e-300)


def _vertices(rest: Floats) -> npt.NDArray[np.int64]:
    """Numbers of the vertices at the corners, (n, 3); corners at one place share a vertex."""
    grid = np.round(rest.reshape(-1, 3) / (1e-7 * np.abs(rest).max(initial=1e-300))).astype(
        np.int64
    )
    return np.unique(grid, axis=0, return_inverse=True)[1].reshape(-1, 3)


def _outlines(rest: Floats, vertices: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Whether the edge opposite to each corner is sharp, or belongs to one triangle, (n, 3)."""
    ends = np.stack([vertices[:, [1, 2, 0]], vertices[:, [2, 0, 1]]], axis=-1)
    pairs = np.sort(ends.reshape(-1, 2), axis=1)
    edge = np.unique(pairs, axis=0, return_inverse=True)[1].ravel()
    count = np.bincount(edge)
    total = np.zeros((len(count), 3))
    np.add.at(total, edge, np.repeat(_normals(rest), 3, axis=0))
    cosine = 0.5 * (np.sum(total**2, axis=1) - 2.0)
    return ((count != 2) | (cosine < _CREASE))[edge].reshape(-1, 3)


def _corner_normals(triangles: Floats, vertices: npt.NDArray[np.int64]) -> Floats:
    """Normals at the corners, averaged over neighbours that meet at a blunt angle, (n, 3, 3)."""
    flat = np.repeat(_normals(triangles), 3, axis=0)
    order = np.argsort(vertices.ravel(), kind="stable")
    counts = np.bincount(vertices.ravel())
    start = np.repeat(np.cumsum(counts) - counts, counts)
    size = np.repeat(counts, counts)
    place = np.arange(len(order)) - start
    own = flat[order]
    total = own.copy()
    for shift in range(1, counts.max()):
        other = own[start + (place + shift) % size]
        blunt = (shift < size) & (np.einsum("ti,ti->t", own, other) > _CREASE)
        total[blunt] += other[blunt]
    result = np.empty_like(total)
    result[order] = total / (np.linalg.norm(total, axis=1, keepdims=True) + 1e-300)
    return result.reshape(-1, 3, 3)
