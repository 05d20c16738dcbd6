"""The FE Jacobian against finite differences of the FE residual, off-diagonal blocks included."""

from typing import ClassVar

from mpi4py import MPI  # before dolfinx, whose wheel finds its MPI library this way

# isort: split
import basix.ufl
import jax.numpy as jnp
import numpy as np
import pytest
import ufl
from dolfinx import fem, la, mesh

import dolfinx_admat.fem as admat_fem
from dolfinx_admat import (
    SCALAR,
    SYMMETRIC,
    VECTOR,
    ExplicitLaw,
    J2Plasticity,
    J2PlasticityGeneral,
    NeoHookean,
    PerzynaViscoplasticity,
    VoceHardening,
)
from dolfinx_admat.fem import MaterialProblem, QuadratureMaterial, deformation_gradient, strain

COMM = MPI.COMM_WORLD
TOLERANCE = 1e-6
HARDENING = VoceHardening(250.0, 180.0, 60.0, 900.0)


class Thermoelastic(ExplicitLaw):
    """Coupled both ways and nonlinear: every derivative of every output is non-zero.

    stress = C : (strain - alpha T 1) (1 - c T); heat flux q = -k (1 + a T + b tr strain) grad T.
    """

    E: float
    inputs: ClassVar[dict] = {
        "strain": SYMMETRIC, "temperature": SCALAR, "temperature_gradient": VECTOR,
    }  # fmt: skip
    outputs: ClassVar[dict] = {"stress": SYMMETRIC, "heat_flux": VECTOR}

    def update(self, inputs, state, dt):
        T, identity = inputs["temperature"], jnp.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
        elastic = inputs["strain"] - 0.02 * T * identity
        trace = jnp.sum(elastic[:3])
        stress = self.E * (1.0 - 0.3 * T) * (elastic + 0.6 * trace * identity)
        conductivity = 2.0 * (1.0 + 0.4 * T + 3.0 * jnp.sum(inputs["strain"][:3]))
        return {
            "stress": stress,
            "heat_flux": -conductivity * inputs["temperature_gradient"],
        }, state


def smooth(components, size, phase):
    """A wavy field: a function of place, so the same on any number of ranks."""

    def values(x):
        rows = [
            np.sin((1.3 + k) * x[0] + phase) * np.cos((2.1 - k) * x[1] + 0.7 * phase)
            + 0.5 * np.sin((0.9 + 0.4 * k) * x[2] - phase)
            for k in range(components)
        ]
        return size * np.array(rows)

    return values


def interpolated(V, size, phase):
    f = fem.Function(V)
    f.interpolate(smooth(V.dofmap.bs, size, phase))
    return f


def vector_of(form):
    b = fem.assemble_vector(form)
    b.scatter_reverse(la.InsertMode.add)
    return b


def norm(vector):
    bs = vector.block_size
    owned = vector.array[: vector.index_map.size_local * bs]
    return np.sqrt(COMM.allreduce(float(owned @ owned)))


def check_block(F, unknown, direction, materials, dt, h):
    """|J d - (F(u + h d) - F(u - h d)) / 2h| / |J d| with J the material_derivative of F."""
    residual = fem.form(F)
    # J d, the action on the direction: no matrix, hence also between two spaces.
    action = fem.form(admat_fem.material_derivative(F, unknown, direction, materials=materials))
    base = unknown.x.array.copy()
    for material in materials:
        material.update(dt)
    product = vector_of(action)
    sides = []
    for sign in (1.0, -1.0):
        unknown.x.array[:] = base + sign * h * direction.x.array
        for material in materials:
            material.update(dt, tangent=False)
        sides.append(vector_of(residual).array.copy())
    unknown.x.array[:] = base
    for material in materials:
        material.update(dt)
    error = vector_of(residual)
    error.array[:] = product.array - (sides[0] - sides[1]) / (2.0 * h)
    size = norm(product)
    assert size > 0.0
    return norm(error) / size


def box():
    return mesh.create_unit_cube(COMM, 2, 2, 2)


@pytest.mark.parametrize(
    "law",
    [
        J2Plasticity(210e3, 0.3, HARDENING),
        J2PlasticityGeneral(210e3, 0.3, HARDENING),
        PerzynaViscoplasticity(210e3, 0.3, HARDENING, K=200.0, n=4.0),
    ],
    ids=lambda law: type(law).__name__,
)
def test_plastic_state_with_history(law):
    V = fem.functionspace(box(), ("P", 2, (3,)))
    u, v = interpolated(V, 5e-4, 0.3), ufl.TestFunction(V)
    material = QuadratureMaterial(V.mesh, law, {"strain": strain(u)}, degree=2)
    F = ufl.inner(material["stress"], strain(v)) * material.dx
    material.update(1.0)
    material.commit()
    u.x.array[:] += interpolated(V, 4e-4, 1.4).x.array
    report = material.update(1.0)
    assert 0 < report.active < report.points, "some points plastic, some elastic"
    for phase in (1.1, 2.2):
        d = interpolated(V, 1.0, phase)
        assert check_block(F, u, d, [material], 1.0, 1e-8) < TOLERANCE


def test_matrix_is_the_operator_of_the_action():
    """The assembled matrix, which the solver sees, times a vector is the action tested above."""
    V = fem.functionspace(box(), ("P", 2, (3,)))
    u, v = interpolated(V, 5e-4, 0.3), ufl.TestFunction(V)
    law = J2Plasticity(210e3, 0.3, HARDENING)
    material = QuadratureMaterial(V.mesh, law, {"strain": strain(u)}, degree=2)
    F = ufl.inner(material["stress"], strain(v)) * material.dx
    d = interpolated(V, 1.0, 1.1)
    J = fem.form(admat_fem.material_derivative(F, u, materials=[material]))
    action = fem.form(admat_fem.material_derivative(F, u, d, materials=[material]))
    material.update(1.0)
    A = fem.assemble_matrix(J)
    A.scatter_reverse()
    # Rows of owned unknowns against all columns; the columns have an index map of their own.
    product, expected = la.vector(V.dofmap.index_map, 3), vector_of(action)
    columns = la.vector(A.index_map(1), A.block_size[1])
    owned = V.dofmap.index_map.size_local * 3
    columns.array[:owned] = d.x.array[:owned]
    columns.scatter_forward()
    product.array[:owned] = (A.to_scipy() @ columns.array)[:owned]
    product.array[:owned] -= expected.array[:owned]
    assert norm(product) < 1e-12 * norm(expected)


def test_finite_strain():
    V = fem.functionspace(box(), ("P", 2, (3,)))
    u, v = interpolated(V, 0.15, 0.3), ufl.TestFunction(V)
    material = QuadratureMaterial(
        V.mesh,
        NeoHookean(10.0, 0.3),
        {"deformation_gradient": deformation_gradient(u)},
        degree=3,
    )
    F = ufl.inner(material["first_piola_stress"], ufl.grad(v)) * material.dx
    for phase in (1.1, 2.2):
        d = interpolated(V, 1.0, phase)
        assert check_block(F, u, d, [material], None, 1e-5) < TOLERANCE


def thermoelastic_forms(domain, u, T, v, S):
    material = QuadratureMaterial(
        domain,
        Thermoelastic(10.0),
        {"strain": strain(u), "temperature": T, "temperature_gradient": ufl.grad(T)},
        degree=3,
    )
    mechanical = ufl.inner(material["stress"], strain(v)) * material.dx
    thermal = -ufl.dot(material["heat_flux"], ufl.grad(S)) * material.dx
    # Factors in front of an output that depend on the unknowns have derivatives of their own.
    mechanical += T**2 * v[0] * material.dx
    thermal += (1.0 + T) * ufl.tr(material["stress"]) * S * material.dx
    return material, mechanical, thermal


def test_blocks_of_a_law_with_several_inputs_and_outputs():
    domain = box()
    V, W = fem.functionspace(domain, ("P", 2, (3,))), fem.functionspace(domain, ("P", 1))
    u, T = interpolated(V, 0.05, 0.3), interpolated(W, 0.5, 1.3)
    material, mechanical, thermal = thermoelastic_forms(
        domain, u, T, ufl.TestFunction(V), ufl.TestFunction(W)
    )
    for F in (mechanical, thermal):
        for unknown in (u, T):
            d = interpolated(unknown.function_space, 1.0, 2.2)
            error = check_block(F, unknown, d, [material], None, 1e-5)
            assert error < TOLERANCE


def test_mixed_element_and_blocks_have_one_solution():
    """One mixed function, its Jacobian against differences, and the same problem in blocks."""
    domain = box()
    cell = domain.basix_cell()
    vector = basix.ufl.element("P", cell, 2, shape=(3,))
    scalar = basix.ufl.element("P", cell, 1)
    M = fem.functionspace(domain, basix.ufl.mixed_element([vector, scalar]))
    w = fem.Function(M)
    u, T = ufl.split(w)
    material, mechanical, thermal = thermoelastic_forms(domain, u, T, *ufl.TestFunctions(M))
    w.sub(0).interpolate(smooth(3, 0.05, 0.3))
    w.sub(1).interpolate(smooth(1, 0.5, 1.3))
    d = fem.Function(M)
    d.sub(0).interpolate(smooth(3, 1.0, 2.2))
    d.sub(1).interpolate(smooth(1, 1.0, 0.9))
    assert check_block(mechanical + thermal, w, d, [material], None, 1e-5) < TOLERANCE

    def conditions(place_u, place_T):
        bcs = []
        for end, (stretch, heat) in enumerate(((0.0, 0.1), (0.1, 0.8))):
            side = mesh.locate_entities_boundary(
                domain, 2, lambda x, end=end: np.isclose(x[0], end)
            )
            for place, value in ((place_u, [stretch, 0.0, 0.0]), (place_T, heat)):
                whole, part = place
                f = fem.Function(part)
                f.x.array.reshape(-1, part.dofmap.bs)[:] = value
                if whole is part:
                    bcs.append(fem.dirichletbc(f, fem.locate_dofs_topological(part, 2, side)))
                else:
                    dofs = fem.locate_dofs_topological((whole, part), 2, side)
                    bcs.append(fem.dirichletbc(f, dofs, whole))
        return bcs

    w.x.array[:] = 0.0
    V, W = M.sub(0).collapse()[0], M.sub(1).collapse()[0]
    tight = {"snes_rtol": 1e-12}
    mixed = MaterialProblem(
        mechanical + thermal,
        w,
        materials=[material],
        bcs=conditions((M.sub(0), V), (M.sub(1), W)),
        petsc_options_prefix="jacobian_mixed_",
        petsc_options=tight,
    ).solve()

    u, T = fem.Function(V), fem.Function(W)
    material, mechanical, thermal = thermoelastic_forms(
        domain, u, T, ufl.TestFunction(V), ufl.TestFunction(W)
    )
    blocks = MaterialProblem(
        [mechanical, thermal],
        [u, T],
        materials=[material],
        bcs=conditions((V, V), (W, W)),
        petsc_options_prefix="jacobian_blocks_",
        petsc_options=tight,
    ).solve()
    assert mixed.iterations == blocks.iterations <= 8
    for split, alone in ((w.sub(0).collapse(), u), (w.sub(1).collapse(), T)):
        difference = fem.form(ufl.inner(split - alone, split - alone) * ufl.dx)
        size = fem.form(ufl.inner(alone, alone) * ufl.dx)
        a, b = (COMM.allreduce(fem.assemble_scalar(f)) for f in (difference, size))
        assert np.sqrt(a / b) < 1e-10
