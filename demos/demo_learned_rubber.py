# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # Rubber learned from Treloar's tests, and twisted
#
# An energy is learned from two tests on strips and sheets: a polyconvex network of invariants in
# the place of a formula. It predicts the third test. Then a rod is twisted in finite elements, and
# its torque and axial force are compared with integrals over the radius.
#
#     mpiexec -n 2 python demos/demo_learned_rubber.py [--fine]
#
# It needs optax. Units: mm, N, MPa.

# %%
import argparse
from pathlib import Path as File

from mpi4py import MPI  # before dolfinx

import jax
import jax.numpy as jnp
import numpy as np
import ufl
from dolfinx import fem, mesh

import dolfinx_admat as admat
from dolfinx_admat import Path, learning
from dolfinx_admat.calibration import Experiment
from dolfinx_admat.fem import (
    Extrapolation,
    LoadStepper,
    MaterialProblem,
    QuadratureMaterial,
    deformation_gradient,
)

here = File(__file__).resolve().parent
parser = argparse.ArgumentParser(description="Rubber learned from tests, and twisted.")
parser.add_argument("--output", type=File, default=here.parent / "results" / "learned_rubber")
parser.add_argument("--fine", action="store_true", help="finer mesh")
options = parser.parse_args()
comm = MPI.COMM_WORLD
options.output.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## The tests
#
# L.R.G. Treloar (Trans. Faraday Soc. 40, 1944) pulled vulcanised rubber in one direction, in two,
# and in one with the width kept (pure shear). A few of his points; rows: stretch, nominal stress.

# %%
treloar = {
    "uniaxial": [
        (1.024, 0.028), (1.234, 0.217), (1.581, 0.405), (2.178, 0.585), (3.017, 0.859),
        (4.034, 1.227), (5.366, 1.954), (6.149, 2.679), (6.601, 3.413), (7.054, 4.119),
        (7.257, 4.872), (7.499, 5.596),
    ],
    "equibiaxial": [
        (1.067, 0.164), (1.202, 0.354), (1.42, 0.538), (1.941, 0.794), (3.034, 1.287),
        (3.756, 1.779), (4.445, 2.514),
    ],
    "pure shear": [
        (1.043, 0.066), (1.192, 0.245), (1.442, 0.417), (2.386, 0.76), (3.458, 1.118),
        (4.344, 1.464), (4.93, 1.799),
    ],
}  # fmt: skip
F, P = "deformation_gradient_", "first_piola_stress_xx"
imposed = {"uniaxial": ["xx"], "equibiaxial": ["xx", "yy"], "pure shear": ["xx"]}
tests = {}
for mode, rows in treloar.items():
    stretch, stress = np.array(rows).T
    kept = {F + "yy": 1.0} if mode == "pure shear" else {}
    path = Path(start=kept).table(
        np.arange(1.0, len(stretch) + 1.0), {F + axis: stretch for axis in imposed[mode]}
    )
    tests[mode] = Experiment(path, {P: stress}, name=mode, units={P: "MPa"})

# %% [markdown]
# ## Training
#
# On two of the three tests. Lateral stresses are zero, as in the laboratory: the driver finds the
# lateral stretches and the pressure. `stretch` is the size of stretches where data are; 140 weights
# and 19 points are no contradiction, because all that the weights can make is polyconvex. Rank 0
# trains and writes the file, which all ranks read.

# %%
law_file, seen = options.output / "rubber.json", [tests["uniaxial"], tests["equibiaxial"]]
if comm.rank == 0:
    rubber = learning.LearnedHyperelastic.create(stress=1.0, stretch=4.4, seed=0)
    training = learning.train(
        admat.Incompressible(rubber),
        seen,
        validation=0,
        epochs=350,
        batch=2,
        learning_rate=0.2,
        progress=False,
    )
    print(training.report())
    training.save(law_file, units={"stress": "MPa"})  # with the range of the training
comm.Barrier()
law_of_rubber = admat.load_law(law_file)
in_training = learning.TrainingRange.from_mapping(
    law_of_rubber, admat.read_law_file(law_file).training_range
)

# %% [markdown]
# ## The third test
#
# For a thin sheet, whose third direction is free, the stress is the derivative of the energy with
# respect to the stretch. The best neo-Hookean law for the same two tests is linear in mu.

# %%
energy = law_of_rubber.law.isochoric_energy


@jax.jit
@jax.vmap
def nominal(stretches):
    """Nominal stress in the direction of the first of two stretches; (points, 2) -> (points,)."""
    return jax.grad(lambda s: energy(jnp.diag(jnp.array([s[0], s[1], 1.0 / (s[0] * s[1])]))))(
        stretches
    )[0]


def stress_of(mode, s):
    """Nominal stress of the learned law; (points,) -> (points,)."""
    other = {"uniaxial": s**-0.5, "equibiaxial": s, "pure shear": np.ones_like(s)}[mode]
    return np.asarray(nominal(np.stack([s, other], axis=1)))


def neo_hooke(mode, stretch):
    """Nominal stress for mu = 1."""
    power = {"uniaxial": -2.0, "equibiaxial": -5.0, "pure shear": -3.0}[mode]
    return stretch - stretch**power


def rms(values):
    """Root mean square."""
    return np.sqrt(np.mean(np.square(values)))


data = {mode: np.array(rows).T for mode, rows in treloar.items()}
# Each test counts with the mean of its squares, as in the training.
rows = [
    np.stack([neo_hooke(mode, data[mode][0]), data[mode][1]]) / np.sqrt(data[mode].shape[1])
    for mode in ("uniaxial", "equibiaxial")
]
basis, stresses = np.concatenate(rows, axis=1)
mu = basis @ stresses / (basis @ basis)
errors = {mode: rms(stress_of(mode, s) - p) for mode, (s, p) in data.items()}
of_neo_hooke = {mode: rms(mu * neo_hooke(mode, s) - p) for mode, (s, p) in data.items()}

# %% [markdown]
# ## A rod
#
# A cylinder between two rigid plates, one of which is turned. The mesh is a block whose square is
# drawn out to a disk; it is a polygon, scaled such that its polar moment is that of the disk.

# %%
radius, height, shear = 10.0, 12.0, 2.0  # shear: at the surface, at the end
n, layers = (8, 8) if options.fine else (6, 4)
domain = mesh.create_box(
    comm, [[-1.0, -1.0, 0.0], [1.0, 1.0, height]], [n, n, layers], mesh.CellType.hexahedron
)
x = domain.geometry.x
x[:, :2] *= np.sqrt(1.0 - 0.5 * x[:, 1::-1] ** 2)
X = ufl.SpatialCoordinate(domain)
moment = comm.allreduce(fem.assemble_scalar(fem.form((X[0] ** 2 + X[1] ** 2) * ufl.dx)))
x[:, :2] *= radius * (0.5 * np.pi * height / moment) ** 0.25

V, Q = fem.functionspace(domain, ("Q", 2, (3,))), fem.functionspace(domain, ("Q", 1))
u, p = fem.Function(V, name="displacement"), fem.Function(Q, name="pressure")
v, q = ufl.TestFunctions(ufl.MixedFunctionSpace(V, Q))
law = QuadratureMaterial(
    domain,
    law_of_rubber,
    {"deformation_gradient": deformation_gradient(u), "pressure": p},
    degree=4,
)
form = ufl.inner(law["first_piola_stress"], ufl.grad(v)) * law.dx
form += law["volume_constraint"] * q * law.dx

bottom, top = (
    mesh.locate_entities_boundary(domain, 2, lambda x, z=z: np.isclose(x[2], z))
    for z in (0.0, height)
)
turned = fem.Function(V)
bcs = [
    fem.dirichletbc(np.zeros(3), fem.locate_dofs_topological(V, 2, bottom), V),
    fem.dirichletbc(turned, fem.locate_dofs_topological(V, 2, top)),
]
problem = MaterialProblem(
    ufl.extract_blocks(form), [u, p], materials=[law], bcs=bcs, petsc_options_prefix="rod_"
)


def load(angle):
    """Turn the top by an angle about the axis."""
    c, s = np.cos(angle), np.sin(angle)
    turned.interpolate(
        lambda x: np.stack([(c - 1) * x[0] - s * x[1], s * x[0] + (c - 1) * x[1], 0 * x[0]])
    )


# %% [markdown]
# ## Twist
#
# The torque is the virtual work of a rotation of the top. `Extrapolation` compares each point with
# the range of the training. That is a box of invariants, and shear lies between tension in one and
# in two directions: no point is beyond it.

# %%
spin = fem.Function(V)
rotation = X[2] / height * ufl.as_vector([-X[1] - u[1], X[0] + u[0], 0.0])
of_spin = fem.Expression(rotation, V.element.interpolation_points)
work = fem.form(ufl.inner(law["first_piola_stress"], ufl.grad(spin)) * law.dx)
angles = shear * height / radius * np.linspace(0.0, 1.0, 7)[1:]
curve = []
with Extrapolation(law, in_training) as extrapolation:
    for step in LoadStepper(problem, angles, load=load):
        if step.prescribed:
            spin.interpolate(of_spin)
            torque = comm.allreduce(fem.assemble_scalar(work))
            curve.append((torque, problem.reaction(top)[2]))
torques, forces = np.array(curve).T

# %% [markdown]
# ## A second way to the answer
#
# A twisted rod stays a rod, and a ring of radius r is sheared by g = r angle / height (R.S. Rivlin,
# Phil. Trans. R. Soc. A 241, 1948). With the stresses S = dW/dF F^T, whose pressure is not known,
# equilibrium in radial direction leaves
#
#     torque = 2 pi int S_tz r^2 dr,   force = pi int (2 S_zz - S_rr - S_tt) r dr.
#
# The force is not zero: a rod that is twisted wants to be longer (the effect of Poynting).

# %%
point, weight = np.polynomial.legendre.leggauss(20)
r, dr = 0.5 * radius * (point + 1.0), 0.5 * radius * weight


@jax.jit
@jax.vmap
def stresses_of(shear):
    """S for a shear; (points,) -> (points, 3, 3) in the directions r, t, z."""
    gradient = jnp.eye(3).at[1, 2].set(shear)
    return jax.grad(energy)(gradient) @ gradient.T


def resultants(angle):
    """Torque and axial force by quadrature."""
    S = np.asarray(stresses_of(r * angle / height))
    axial = 2.0 * S[:, 2, 2] - S[:, 0, 0] - S[:, 1, 1]
    return 2.0 * np.pi * np.sum(S[:, 1, 2] * r**2 * dr), np.pi * np.sum(axial * r * dr)


line = np.linspace(0.0, angles[-1], 60)
of_line = np.array([resultants(angle) for angle in line])
expected = np.array([resultants(angle) for angle in angles])
error_torque, error_force = (
    np.abs(found / of - 1.0).max() for found, of in zip((torques, forces), expected.T, strict=True)
)
count = extrapolation.count()

# %% [markdown]
# ## Results

# %%
if comm.rank == 0:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.2), layout="constrained")
    for k, (mode, (s, stress)) in enumerate(data.items()):
        fine = np.linspace(1.0, s[-1], 100)
        known = "predicted" if mode == "pure shear" else "trained"
        left.plot(s, stress, "o", ms=4, mfc="none", color=f"C{k}")
        left.plot(fine, stress_of(mode, fine), color=f"C{k}", label=f"{mode} ({known})")
        left.plot(fine, mu * neo_hooke(mode, fine), ":", color=f"C{k}", lw=1)
    left.plot([], [], "k:", lw=1, label="neo-Hooke, same two tests")
    left.set(xlabel="stretch", ylabel="nominal stress (MPa)", title="Treloar's tests", ylim=(0, 6))
    degrees = np.rad2deg
    right.plot(degrees(line), of_line[:, 0] / 1e3, "C0-", label="torque (N m)")
    right.plot(degrees(angles), torques / 1e3, "C0o", ms=5, mfc="none")
    right.plot(degrees(line), -of_line[:, 1] / 1e2, "C3-", label="axial compression (100 N)")
    right.plot(degrees(angles), -forces / 1e2, "C3o", ms=5, mfc="none")
    polar = 0.5 * np.pi * radius**4
    of_rod = mu * polar * line / height
    right.plot(degrees(line), of_rod / 1e3, "C0:", lw=1, label="torque, neo-Hooke")
    right.plot([], [], "ko", mfc="none", ms=5, label="finite elements (lines: quadrature)")
    right.set(xlabel="angle (degrees)", ylabel="torque, force", title="Twisted rod")
    for axes in (left, right):
        axes.legend(frameon=False)
        axes.grid(alpha=0.3)
    figure.savefig(options.output / "learned_rubber.png", dpi=130)

    print("\nrms of the nominal stress, MPa   learned   neo-Hooke")
    for mode in treloar:
        print(f"{mode:31} {errors[mode]:8.4f} {of_neo_hooke[mode]:11.4f}")
    print(
        f"at {np.rad2deg(angles[-1]):.0f} degrees: torque {torques[-1] / 1e3:.4f} N m, axial force"
    )
    print(f"{forces[-1]:.2f} N; quadrature: at most {100 * error_torque:.2f} % and")
    print(f"{100 * error_force:.2f} % away; {count.ever} of {count.points} points left the range")

# %% [markdown]
# ## Check

# %%
assert max(errors.values()) < 0.1, errors
assert errors["pure shear"] < 0.08, errors
assert all(errors[mode] < of_neo_hooke[mode] / 2.5 for mode in errors), (errors, of_neo_hooke)
assert error_torque < 1e-3 and error_force < 3e-3, (error_torque, error_force)
assert forces[-1] < 0.0 < torques[-1], (forces, torques)
assert count.ever == 0 and count.steps == len(angles), count
