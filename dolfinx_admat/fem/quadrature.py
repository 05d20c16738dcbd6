"""A constitutive law at the quadrature points of a mesh: values, history, UFL objects."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import dolfinx
import numpy as np
import numpy.typing as npt
import ufl

from ..errors import ConvergenceError
from ..kernels import BatchKernel
from ..kernels.batch import DEFAULT_CHUNK
from ..materials import Material
from ..materials._declare import named_leaves
from . import _native
from ._checks import check_arguments, check_form, check_inputs, check_names, stress_shape
from ._collective import collectively
from ._derivative import derivative
from ._evaluation import Evaluation, Tangents
from ._history import History
from ._node import first_per_node
from ._regions import Region
from ._spaces import QuadratureSpace
from ._status import UpdateReport, reduce_status
from ._translate import flatten_ufl, from_ordinary, ordinary_shape, unflatten_ufl
from .fields import PointField
from .output import cell_average

Floats = npt.NDArray[np.float64]


class QuadratureMaterial:
    """A law bound to a mesh, UFL expressions for its inputs and a quadrature rule.

    It owns the history: ``update`` computes a trial state from the state at t_n, ``commit``
    makes the trial state the state at t_n, ``revert`` forgets it. In UFL and in files all
    tensors are ordinary ones; Mandel vectors stay inside laws. Only owned cells are evaluated.

    Args:
        mesh: The mesh.
        material: The law.
        inputs: UFL expression of each declared input, e.g. ``{"strain": fem.strain(u)}``; external
            state, per cell or point, as a DG0 or quadrature Function. An input ``name_n`` is,
            unless given, the input ``name`` at t_n: at the last commit, before the first one now.
        degree: Degree of the quadrature rule.
        cells: Where the material is: None (everywhere), local cell indices, or
            ``(MeshTags, tag or list of tags)``.
        parameters: Parameters (dotted names, e.g. ``"hardening.sigma_y"``) that vary in space:
            numbers, dolfinx Functions, UFL expressions, or arrays (owned cells of the material,)
            or (cells, points). Functions and expressions are read at every update.
        initial_state: Initial values of state variables by name, as ordinary tensors: numbers,
            arrays, Functions or UFL expressions. Default: the law's ``initial_state()``.
        initial_stress: Stress of the undeformed body (law strain -> stress), ordinary tensor. The
            law sees strain + strain0, where strain0 is the strain at which it returns this stress
            at the initial state and the other inputs' present values; so its yield function sees
            the initial stress. Equilibrium with the loads is up to the caller.
        tangent: ``"implicit"``, ``"unrolled"`` or ``"finite_difference"``; None: as the law says.
        backend: ``"native"`` (C made from the law), ``"xla"``, or ``"auto"``: native where it can.
        chunk_size: Points per compiled call of the ``xla`` backend.
        scheme: Quadrature scheme of basix.
        name: Name in messages; default: the law's class.
        entity_maps: For inputs that live on a related mesh.
        jit_options: Options of the C compilation of expressions.

    Attributes:
        dx: Measure to integrate this material's outputs with.
        points: Quadrature points on the reference cell; (points, tdim).
        weights: Quadrature weights; (points,).
        kernel: The batched law.
        listeners: Called after each commit, on all ranks; they may communicate.
        space, history, evaluation, field: For the assembly and the sensitivities.

    Raises:
        MaterialError: Names, shapes, cells, parameters or initial values do not fit, with the
            same message on every rank. Collective: yes, like all methods unless they say no.
    """

    def __init__(
        self,
        mesh: dolfinx.mesh.Mesh,
        material: Material,
        inputs: Mapping[str, Any],
        *,
        degree: int,
        cells: Any = None,
        parameters: Mapping[str, Any] | None = None,
        initial_state: Mapping[str, Any] | None = None,
        initial_stress: Any = None,
        tangent: str | None = None,
        backend: str = "auto",
        chunk_size: int = DEFAULT_CHUNK,
        scheme: str = "default",
        name: str | None = None,
        entity_maps: list[Any] | None = None,
        jit_options: dict[str, Any] | None = None,
    ) -> None:
        jit_options = _native.jit_options(jit_options)
        self.mesh, self.name = mesh, name or type(material).__name__
        self.degree, self.scheme = degree, scheme
        self.dt: float | None = None
        self.listeners: list[Callable[[], Any]] = []
        self._compiled = set[bool]()  # kernels without and with tangents
        parameters = dict(parameters or {})
        with collectively(mesh.comm):
            check_arguments(self.name, mesh, material, inputs, degree)
            self.kernel = BatchKernel(
                material,
                tangent=tangent,
                backend=backend,
                chunk_size=chunk_size,
                point_parameters=tuple(parameters),
            )
            check_inputs(self.name, inputs)
            vectors = {
                key: flatten_ufl(inputs[key], shape, f"{self.name}: input '{key}'")
                for key, shape in material.inputs.items()
                if key in inputs
            }
        self._inputs_ufl = vectors
        self._metadata = {"quadrature_degree": degree, "quadrature_rule": scheme}
        self._region = Region(mesh, cells, self._metadata)
        self.dx = self._region.dx
        self.space = QuadratureSpace(mesh, degree, scheme, self.cells)
        self.points, self.weights = self.space.points, self.space.weights
        self.points_per_cell = len(self.weights)
        points = len(self.cells) * self.points_per_cell

        where: dict[str, Any] = {"mesh": mesh, "cells": self.cells, "points": self.points}
        where |= {"jit_options": jit_options, "entity_maps": entity_maps}
        field: Callable[..., PointField] = partial(PointField, **where)
        self.field = field
        fields = {
            key: field(vector, vector.ufl_shape, f"{self.name}: input '{key}'")
            for key, vector in vectors.items()
        }
        known = named_leaves(material)
        varying = {
            key: field(value, np.shape(known[key]), f"{self.name}: parameter '{key}'")
            for key, value in parameters.items()
        }
        self._volumes = field(ufl.as_vector([abs(ufl.JacobianDeterminant(mesh))]), (1,), "volume")

        initial = self.kernel.initial_state(points)
        with collectively(mesh.comm):
            self.kernel.check_law()
            check_names(self.name, initial_state or {}, initial, "initial_state: no state variable")
            check_names(self.name, material.state_kinds, initial, "state_kinds: no state variable")
        shapes = {**self.kernel.state_shapes, **material.state_kinds}
        for key, value in (initial_state or {}).items():
            what = f"{self.name}: initial_state '{key}'"
            given = field(value, ordinary_shape(shapes[key]), what)
            initial[key][:] = from_ordinary(given.values(), shapes[key])
        self.history = History(self.name, self.space, material.outputs, initial, shapes)
        coordinates = dolfinx.fem.Expression(
            ufl.SpatialCoordinate(mesh), self.points, jit_options=jit_options
        )
        self.evaluation = Evaluation(
            self.name,
            mesh,
            self.kernel,
            self.space,
            self.cells,
            fields,
            varying,
            self.history,
            coordinates,
        )
        self.evaluation.keep_inputs(now=True)
        if initial_stress is not None:
            shape = stress_shape(self.name, material)
            stress = field(initial_stress, ordinary_shape(shape), f"{self.name}: initial_stress")
            with collectively(mesh.comm):
                self.evaluation.start_from_stress(from_ordinary(stress.values(), shape))

    # -- what a user reads ---------------------------------------------------------------

    @property
    def material(self) -> Material:
        """The law; assign one of the same structure to change parameter values."""
        return self.kernel.material

    @material.setter
    def material(self, law: Material) -> None:
        self.kernel.material = law

    @property
    def cells(self) -> npt.NDArray[np.int32]:
        """Owned cells of this rank that have the material; local indices."""
        return self._region.cells

    @property
    def state(self) -> Mapping[str, Floats]:
        """State at t_n by name, read-only: (cells, points, *shape), Mandel inside. Local."""
        return self.history.at_t_n()

    def __getitem__(self, name: str) -> Any:
        """Output or state variable as an ordinary UFL tensor, for cell integrals with ``dx``.

        It follows ``update``, ``commit`` and ``revert``. Collective: yes, at the first use of a
        state variable.
        """
        function = self.history.function(name)
        return unflatten_ufl(function, self.history.shape(name))

    def values(self, name: str) -> Floats:
        """Copy of an output or state variable (trial values) as ordinary tensors.

        Returns:
            (cells, points, *shape) for this rank's ``cells``; symmetric tensors are (3, 3).
            Local: no communication.
        """
        return self.history.values(name)

    def cell_average(
        self, name: str, *, out: dolfinx.fem.Function | None = None
    ) -> dolfinx.fem.Function:
        """Mean over each cell of an output or state variable, as a DG0 function for output.

        Args:
            name: Output or state variable.
            out: An earlier result, to write into; several materials may share one.

        Returns:
            DG0 function of an ordinary tensor; zero outside the material.
        """
        return cell_average(
            self.mesh,
            self.values(name),
            self.points,
            self.weights,
            cells=self.cells,
            out=out,
            name=name,
        )

    def integrate(self, name: str) -> Any:
        """Integral of an output or state variable over the material's volume.

        Returns:
            A float, or an array (3, 3) or of the variable's shape; the same on all ranks.
        """
        values = self.values(name)
        volumes = self.space.per_cell(self.point_volumes())
        local = np.einsum("cq,cq...->...", volumes, values)
        total = self.mesh.comm.allreduce(np.asarray(local))
        return float(total) if total.shape == () else total

    # -- the step -------------------------------------------------------------------------

    def update(
        self, dt: float | None = None, *, tangent: bool = True, on_failure: str = "raise"
    ) -> UpdateReport:
        """Compute outputs, trial state and tangents from the inputs now and the state at t_n.

        Args:
            dt: Step, units of time; None only for laws that do not read it.
            tangent: Compute the tangents as well.
            on_failure: ``"raise"`` or ``"report"``.

        Returns:
            What happened, the same on all ranks.

        Raises:
            ConvergenceError: Points failed (``on_failure="raise"``); the state at t_n is
                untouched, call ``revert`` to restore the outputs as well.
            MaterialError: Negative or missing dt, NaN parameters.
        """

        def evaluate() -> None:
            self.check_step(dt)
            # Without a step, a law that reads it after all gets NaN: a failure, not a guess.
            self.evaluation.run(float("nan") if dt is None else float(dt), tangent)

        with dolfinx.common.Timer("admat: material"):
            if tangent in self._compiled:
                with collectively(self.mesh.comm):
                    evaluate()
            else:
                first_per_node(self.mesh.comm, evaluate)
                self._compiled.add(tangent)
        self.dt = dt
        self.history.write_state_functions()
        report = reduce_status(
            self.mesh.comm,
            self.name,
            self.evaluation.status,
            lambda point: self.evaluation.describe(point, dt),
        )
        if report.failed and on_failure == "raise":
            raise ConvergenceError(report.message, {"worst": report.worst})
        return report

    def commit(self) -> None:
        """Make the trial state that at t_n, after a converged solve. Local, but for listeners."""
        self.history.commit()
        self.evaluation.keep_inputs()
        for listener in self.listeners:
            listener()

    def revert(self) -> None:
        """Forget the trial state: outputs and state are those of the last commit. Local.

        The tangents remain those of the last update.
        """
        self.history.revert()
        self.evaluation.forget_inputs()

    def set_state(self, name: str, value: Any) -> None:
        """Set a state variable, at t_n and as trial value; for restarts and remapping.

        Args:
            name: State variable.
            value: As in ``initial_state``: number, array, Function or UFL, ordinary tensors.

        Raises:
            MaterialError: No such variable, or a wrong shape.
        """
        with collectively(self.mesh.comm):
            check_names(self.name, [name], self.history.state_n, "no state variable")
        shape = self.history.shape(name)
        given = self.field(value, ordinary_shape(shape), f"{self.name}: state '{name}'")
        self.history.state_n[name][:] = from_ordinary(given.values(), shape)
        np.copyto(self.history.state[name], self.history.state_n[name])
        self.history.write_state_functions()

    def random_signs(self, *, strained: bool = False) -> AbstractContextManager[None]:
        """Context in which the outputs have a random sign in each cell. Local.

        Args:
            strained: Replace the outputs by tangent : input first; of the size of the terms that
                cancel in a body that is strained but free of stress.
        """
        if not strained:
            return self.history.random_signs()
        return self.history.random_signs(self.evaluation.tangents_times_inputs())

    def has_tangents(self, forms: list[ufl.Form]) -> bool:
        """Whether some form contains a tangent of this material. Local."""
        return any(self.tangents.functions() & set(form.coefficients()) for form in forms)

    def point_volumes(self) -> Floats:
        """Weight of each point in an integral over the mesh; (points,). Local."""
        return np.ravel(self.space.per_cell(self._volumes.values())[..., 0] * self.weights)

    @property
    def number_of_points(self) -> int:
        """Quadrature points of this rank. Local."""
        return len(self.cells) * self.points_per_cell

    def check_step(self, dt: float | None) -> None:
        """Check a step size. Local; the same on all ranks if ``dt`` is.

        Raises:
            MaterialError: dt is negative, NaN, or missing for a rate-dependent law.
        """
        self.material.check_step(dt, self.name)

    # -- UFL ------------------------------------------------------------------------------

    def derivative(self, F: ufl.Form, u: Any, du: Any) -> ufl.Form:
        """Derivative of a form through this material's outputs, with respect to ``u``.

        That is the sum over outputs and inputs of dF/d(output) : tangent : d(input)/du[du]. Add it
        to ``ufl.derivative(F, u, du)``; ``fem.material_derivative`` does both. The tangents are
        those of the last ``update``. State variables in F (``law["plastic_strain"]``) count as
        constants.
        """
        return derivative(F, u, du, self.outputs, self._inputs_ufl, self.tangents.function)

    def check_form(self, F: ufl.Form) -> None:
        """Check that a form integrates this material's outputs with ``dx``. Local.

        Raises:
            MaterialError: A boundary or interior-facet integral, another quadrature rule, or
                other cells than the material's.
        """
        check_form(self.name, F, self.functions(), self._metadata, self._region)

    def functions(self) -> set[dolfinx.fem.Function]:
        """The coefficients behind ``law[name]``: outputs and states in use. Local."""
        return self.history.functions()

    # -- for the assembly -----------------------------------------------------------------

    @property
    def tangents(self) -> Tangents:
        """Buffers of the tangents. Local."""
        return self.evaluation.tangents

    @property
    def outputs(self) -> Mapping[str, dolfinx.fem.Function]:
        """The coefficient behind each output. Local."""
        return self.history.outputs

    @property
    def input_vectors(self) -> Mapping[str, Any]:
        """UFL vector of each input, in the law's components. Local."""
        return self._inputs_ufl

    def fills(self, integral: Any) -> bool:
        """Whether a cell integral of the material's outputs runs over all its cells. Local."""
        return self._region.fills(integral)
