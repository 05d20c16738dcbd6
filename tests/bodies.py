"""Small problems that several tests share."""

from mpi4py import MPI

import basix.ufl
import numpy as np
import ufl
from dolfinx import fem, mesh

import dolfinx_admat as admat
from dolfinx_admat.fem import MaterialProblem, QuadratureMaterial, strain

STEEL = {"E": 210e3, "nu": 0.3}


def voce():
    """Steel with Voce hardening, MPa."""
    return admat.J2Plasticity(**STEEL, hardening=admat.VoceHardening(250.0, 150.0, 40.0, H=500.0))


def facets(domain, axis, value):
    """Boundary facets on a coordinate plane."""
    fdim = domain.topology.dim - 1
    return mesh.locate_entities_boundary(domain, fdim, lambda x: np.isclose(x[axis], value))


def halves(domain, as_tags):
    """Cells with x <= 1/2 and with x >= 1/2 of a unit cube: as arrays, or as (tags, id)."""
    left = mesh.locate_entities(domain, 3, lambda x: x[0] <= 0.5 + 1e-9)
    right = mesh.locate_entities(domain, 3, lambda x: x[0] >= 0.5 - 1e-9)
    if not as_tags:
        return left, right
    cells = domain.topology.index_map(3)
    values = np.full(cells.size_local + cells.num_ghosts, 2, dtype=np.int32)
    values[left] = 1
    tags = mesh.meshtags(domain, 3, np.arange(len(values), dtype=np.int32), values)
    return (tags, 1), (tags, 2)


def everything_on_rank_zero(comm, nparts, cell_types, cells):
    """A mesh partitioner that leaves all other ranks without cells."""
    from dolfinx.graph import adjacencylist

    count = len(cells[0]) // mesh_vertices(cell_types[0])
    destinations = np.zeros(count, dtype=np.int32)
    offsets = np.arange(count + 1, dtype=np.int32)
    return adjacencylist(destinations, offsets)._cpp_object


def mesh_vertices(cell_type):
    """Vertices of a cell."""
    return {mesh.CellType.tetrahedron: 4, mesh.CellType.hexahedron: 8}[cell_type]


def quarter_annulus(inner, outer, radial, angular):
    """Quarter annulus of six-node triangles with curved edges; 2 radial x angular triangles."""
    r, angle = np.meshgrid(
        np.linspace(inner, outer, 2 * radial + 1),
        np.linspace(0.0, np.pi / 2, 2 * angular + 1),
        indexing="ij",
    )
    x = np.stack([r * np.cos(angle), r * np.sin(angle)], axis=-1).reshape(-1, 2)
    cells = []
    for i in range(0, 2 * radial, 2):
        for j in range(0, 2 * angular, 2):
            for corners in ([(0, 0), (2, 0), (2, 2)], [(0, 0), (0, 2), (2, 2)]):
                a, b, c = np.array(corners)
                nodes = [a, b, c, (b + c) // 2, (a + c) // 2, (a + b) // 2]
                cells.append([(i + p) * (2 * angular + 1) + j + q for p, q in nodes])
    cells = np.array(cells, dtype=np.int64)
    if MPI.COMM_WORLD.rank > 0:
        cells, x = cells[:0], x[:0]
    element = basix.ufl.element("Lagrange", "triangle", 2, shape=(2,))
    return mesh.create_mesh(MPI.COMM_WORLD, cells, element, x)


def arcs(domain, inner, outer):
    """Measure ds of a quarter annulus; 1 is the inner, 2 the outer arc."""

    def near(x, radius):
        return np.abs(np.hypot(x[0], x[1]) - radius) < 1e-3 * (outer - inner)

    found = [
        mesh.locate_entities_boundary(domain, 1, lambda x, radius=radius: near(x, radius))
        for radius in (inner, outer)
    ]
    facets = np.concatenate(found)
    order = np.argsort(facets)
    values = np.repeat(np.array([1, 2], dtype=np.int32), [len(f) for f in found])
    tags = mesh.meshtags(domain, 1, facets[order], values[order])
    return ufl.Measure("ds", domain, subdomain_data=tags)


def symmetric_quarter(V):
    """No displacement across the axes x = 0 and y = 0; V may be part of a space."""
    domain, conditions = V.mesh, []
    for axis in range(2):
        W = V.sub(axis)
        dofs = fem.locate_dofs_topological(W, 1, facets(domain, axis, 0.0))
        conditions.append(fem.dirichletbc(fem.Constant(domain, 0.0), dofs, W))
    return conditions


class Cube:
    """A unit cube, clamped at z = 0, whose top is moved; P2 tetrahedra unless said otherwise."""

    def __init__(
        self, law=None, n=2, *, degree=2, partitioner=None, solver="direct", cells=None, **options
    ):
        self.mesh = mesh.create_unit_cube(MPI.COMM_WORLD, n, n, n, partitioner=partitioner)
        self.V = fem.functionspace(self.mesh, ("P", 2, (3,)))
        self.u, self.v = fem.Function(self.V, name="u"), ufl.TestFunction(self.V)
        self.material = QuadratureMaterial(
            self.mesh, law or voce(), {"strain": strain(self.u)}, degree=degree, **options
        )
        self.F = ufl.inner(self.material["stress"], strain(self.v)) * self.material.dx
        self.bottom, self.top = facets(self.mesh, 2, 0.0), facets(self.mesh, 2, 1.0)
        self.moved = fem.Constant(self.mesh, (0.0, 0.0, 0.0))
        fdim = 2
        self.bcs = [
            fem.dirichletbc(
                np.zeros(3), fem.locate_dofs_topological(self.V, fdim, self.bottom), self.V
            ),
            fem.dirichletbc(
                self.moved, fem.locate_dofs_topological(self.V, fdim, self.top), self.V
            ),
        ]
        self.problem = MaterialProblem(
            self.F,
            self.u,
            materials=[self.material],
            bcs=self.bcs,
            petsc_options_prefix="cube_",
            solver=solver,
            progress=False,
        )

    def norm(self):
        """Euclidean norm of the displacement vector; the same on all ranks."""
        owned = self.V.dofmap.index_map.size_local * 3
        local = float(np.sum(self.u.x.array[:owned] ** 2))
        return float(np.sqrt(self.mesh.comm.allreduce(local)))
