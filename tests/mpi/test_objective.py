"""A recorded run as a function that optimisers call: derivatives, refusals, interrupts, files."""

from mpi4py import MPI
from petsc4py import PETSc

import jax.numpy as jnp
import numpy as np
import pytest
from dolfinx import fem
from recorded import STEEL, Block
from scipy.optimize import least_squares, minimize

import dolfinx_admat as admat
from dolfinx_admat.calibration import Free
from dolfinx_admat.errors import ConvergenceError, MaterialError
from dolfinx_admat.fem import QuadratureMaterial, strain
from dolfinx_admat.fem.sensitivity import (
    Coefficient,
    LawParameter,
    Objective,
    Reaction,
    Recording,
    fit_structure,
)

COMM = MPI.COMM_WORLD
FREE = {"sigma_y": Free(50.0, 400.0, start=180.0), "H": Free(100.0, 9000.0, log=True)}


class Pull:
    """A block that is pulled, unloaded and pulled; ``at`` has errors by number of the run."""

    def __init__(self):
        b = self.block = Block(COMM, 1)
        self.field = b.field(("DG", 0))
        self.field.x.array[:] = 200e3
        law = admat.J2Plasticity(200e3, 0.3, STEEL)
        self.law = QuadratureMaterial(
            b.mesh, law, {"strain": strain(b.u)}, degree=1, parameters={"E": self.field}
        )
        self.problem = b.problem(b.work(self.law), [self.law])
        self.recording = Recording(
            self.problem,
            observe={"force": Reaction(b.top)},
            controls={
                "sigma_y": LawParameter(self.law, "hardening.sigma_y"),
                "H": LawParameter(self.law, "hardening.H"),
                "hardening": LawParameter(self.law, "hardening"),
                "E": Coefficient(self.field),
            },
            progress=False,
        )
        self.calls, self.at, self.loads = 0, {}, (0.002, 0.006, 0.005, 0.009)

    def __call__(self):
        self.calls += 1
        for k, value in enumerate(self.loads):
            if k == 2 and self.calls in self.at:
                raise self.at[self.calls]
            self.block.moved.value = value
            self.problem.solve()

    def objective(self, free=FREE, **options):
        options = {"residual": lambda o: (o["force"] - self.target).ravel() / 0.1, **options}
        return Objective(self.recording, self, free, progress=False, **options)


@pytest.fixture(scope="module")
def pull():
    made = Pull()
    set_law(made, 230.0, 1500.0)
    with made.recording:
        made()
    made.target = made.recording.observed["force"]
    return made


@pytest.fixture(autouse=True)
def reset(pull):
    pull.calls, pull.at, pull.loads = 0, {}, (0.002, 0.006, 0.005, 0.009)
    pull.field.x.array[:] = 200e3
    set_law(pull, 180.0, 1000.0)


def set_law(pull, sigma_y, H):
    pull.recording.controls["sigma_y"].set(sigma_y)
    pull.recording.controls["H"].set(H)


def test_derivatives(pull):
    """Gradient and Jacobian against central differences; products of J^T J and the penalty."""
    one = pull.objective(penalty=lambda p: 3.0 * (p["sigma_y"] / 200.0) ** 2)
    z = one.z0.copy()
    value, gradient = one(z)
    J = one.jacobian(z)
    bend = 6.0 * (one.free.scale[0] / 200.0) ** 2
    for k, unit in enumerate(np.eye(2)):
        h = 1e-5 * unit
        ahead, back = one.value(z + h), one.value(z - h)
        assert (ahead - back) / 2e-5 == pytest.approx(gradient[k], rel=1e-5)
        change = (one.residuals(z + h) - one.residuals(z - h)) / 2e-5
        np.testing.assert_allclose(J[:, k], change, rtol=0.0, atol=1e-5 * np.abs(change).max())
        expected = J.T @ J[:, k] + bend * unit * (k == 0)
        np.testing.assert_allclose(one.hessp(z, unit), expected, rtol=1e-6)
    assert one.value(z) == pytest.approx(value, rel=1e-9)


def test_optimisers_find_the_values(pull):
    one = pull.objective()
    found = least_squares(one.residuals, one.z0, one.jacobian, bounds=one.bounds.T)
    values = one.values(found.x)
    assert values["sigma_y"] == pytest.approx(230.0, rel=1e-4)
    assert values["H"] == pytest.approx(1500.0, rel=1e-3)
    assert one.best[0] == min(one.history)
    set_law(pull, 180.0, 1000.0)
    two = pull.objective()
    tao = PETSc.TAO().create(COMM)
    tao.setType("blmvm")
    tao.setMaximumIterations(8)
    two.attach_tao(tao)
    tao.solve()
    assert two.best[0] < 0.05 * two.history[0]
    tao.destroy()


def test_fit_structure(pull):
    """The exact values are found; what is left in the problem is the best run, not the last."""
    pull.at = {3: ConvergenceError("no", {})}
    one = pull.objective()
    found = fit_structure(one, iterations=40, tolerance=1e-12)
    # Data without noise: what remains is where the optimiser stopped.
    assert found.values["sigma_y"] == pytest.approx(230.0, rel=1e-3)
    assert found.values["H"] == pytest.approx(1500.0, rel=1e-2)
    assert found.value == min(one.history) < 1e-4 * found.first_value
    assert (found.evaluations, found.refused) == (len(one.history), 1)
    assert found.data == {"force": pull.target.shape} and found.residuals == pull.target.size
    left = pull.recording.controls["sigma_y"].get()
    assert left == pytest.approx(found.values["sigma_y"], rel=1e-12)
    text = str(found)
    assert "2 parameters (sigma_y 1, H 1)" in text and "1 refused" in text
    assert COMM.bcast(text) == text
    for wrong in ({"iterations": 0}, {"tolerance": -1.0}):
        with pytest.raises(MaterialError, match=next(iter(wrong))):
            fit_structure(one, **wrong)


def test_interrupted_fit_goes_on_from_its_file(pull, tmp_path):
    file = COMM.bcast(tmp_path) / "best.npz"
    pull.at = {4: KeyboardInterrupt()}
    one = pull.objective(file=file)
    with pytest.raises(KeyboardInterrupt):
        least_squares(one.residuals, one.z0, one.jacobian, bounds=one.bounds.T)
    assert len(one.history) == 3 and one.best[0] < one.history[0]
    two = pull.objective(file=file)
    assert two.values(two.z0)["H"] == pytest.approx(one.values(one.best[1])["H"], rel=1e-6)
    found = least_squares(two.residuals, two.z0, two.jacobian, bounds=two.bounds.T)
    assert two.history[0] == pytest.approx(one.best[0], rel=1e-3)
    assert two.values(found.x)["sigma_y"] == pytest.approx(230.0, rel=1e-4)
    COMM.barrier()
    with pytest.raises(MaterialError, match=r"was written for other controls \(\['sigma_y', 'H'\]"):
        pull.objective({"H": Free(log=True)}, file=file)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"hello"])
def test_file_of_no_use(pull, tmp_path, content):
    folder = COMM.bcast(tmp_path)
    if COMM.rank == 0:
        (folder / "best.npz").write_bytes(content)
    COMM.barrier()
    with pytest.raises(MaterialError, match=r"best\.npz cannot be read .*delete it to start anew"):
        pull.objective(file=folder / "best.npz")
    with pytest.raises(MaterialError, match="there is no folder for file="):
        pull.objective(file=folder / "nowhere" / "best.npz")


def test_failed_runs_are_refused(pull):
    pull.at = {2: ConvergenceError("made up"), 4: ConvergenceError("made up")}
    one = pull.objective()
    least_squares(one.residuals, one.z0, one.jacobian, bounds=one.bounds.T)
    assert np.isinf(one.history[1]) and one.best[0] < 1e-3 * one.history[0]
    two = pull.objective()
    pull.calls = 3
    with pytest.raises(ConvergenceError, match="made up"):
        two(two.z0)  # there is nothing to go back to
    first = two.value(two.z0)
    pull.calls = 3
    z = 1.1 * two.z0
    value, gradient = two(z)
    assert value == 10.0 * first and not gradient.any() and np.isinf(two.residuals(z)).all()
    for call in (two.jacobian, two.statistics, lambda z: two.hessp(z, z)):
        with pytest.raises(MaterialError, match="was refused or failed, and has no derivative"):
            call(z)


def test_values_that_a_law_does_not_admit_are_refused(pull):
    """The end of an open range is a bound that optimisers step on; fields have no bounds at all."""
    one = pull.objective({"sigma_y": Free()}, residual=lambda o: o["force"].ravel())
    assert one.bounds[0, 0] == 0.0
    first = one.value(one.z0)
    assert one.value([0.0]) == 10.0 * first and pull.calls == 1
    with pytest.raises(MaterialError, match="has no derivative"):
        one.jacobian([0.0])
    minimize(one, one.z0, jac=True, bounds=one.bounds, method="L-BFGS-B", options={"maxiter": 3})
    assert one.best[0] < first and np.isinf(one.history).any()
    set_law(pull, 180.0, 1000.0)
    field = pull.objective({"E": (None, None)})
    first = field.value(field.z0)
    z = field.z0.copy()
    z[-1] = -1.0
    assert field.value(z) == 10.0 * first
    assert field.value(field.z0) == first
    fresh = pull.objective({"E": (None, None)})
    with pytest.raises(MaterialError, match="parameter 'E' is out of range: got -200000"):
        fresh.value(z)


def test_clear_errors(pull):
    for free, message in (
        (["H"], "expected controls to be varied by name"),
        ({}, "expected controls to be varied by name"),
        ({"Q": Free()}, r"no control 'Q'; the recording has \['E', 'H', 'hardening', 'sigma_y'\]"),
        ({"H": Free(3000.0, 100.0)}, "'H': the bounds cross: lower=3000 >= upper=100"),
        ({"sigma_y": Free(-1.0, 500.0)}, "lower=-1 is outside of what the law admits"),
        ({"H": Free(), "hardening": Free()}, "'H' and 'hardening' set the same numbers"),
    ):
        with pytest.raises(MaterialError, match=message):
            pull.objective(free)
    one = pull.objective()
    for z in ([1.0], [1.0, np.nan]):
        with pytest.raises(MaterialError, match="expected 2 finite numbers"):
            one(z)
    with pytest.raises(MaterialError, match="give either loss or residual"):
        pull.objective(loss=lambda o: jnp.sum(o["force"]))
    with pytest.raises(ConvergenceError, match="the loss is nan"):
        pull.objective(residual=lambda o: o["force"].ravel() * jnp.nan).value(one.z0)
    by_loss = pull.objective(residual=None, loss=lambda o: jnp.sum(o["force"] ** 2))
    by_loss.value(by_loss.z0)
    with pytest.raises(MaterialError, match="residuals need an objective with residual"):
        by_loss.residuals(by_loss.z0)
    pull.loads = ()
    with pytest.raises(MaterialError, match="simulate has solved no step of the problem"):
        pull.objective().value(one.z0)
    with pytest.raises(MaterialError, match="'f' in observe must be a Reaction"):
        Recording(pull.problem, observe={"f": fem}, controls={}, progress=False)
