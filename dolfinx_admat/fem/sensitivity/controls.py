"""What a result is differentiated with respect to."""

from collections.abc import Sequence
from typing import Any

from mpi4py import MPI

import dolfinx
import equinox as eqx
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from ...errors import MaterialError
from ...materials._declare import named_leaves
from ...materials.parameters import replace_parameters
from ..quadrature import QuadratureMaterial
from ._slopes import owned

Floats = npt.NDArray[np.float64]


class LawParameter:
    """A parameter of a law, one value for all points: of one material, or shared by several.

    Args:
        materials: The quadrature material, or a list of materials that share the parameter.
        name: Dotted name of a number or an array (``"hardening.sigma_y"``), or the common
            beginning of several (``"hardening.network"``), which are taken as one flat vector.

    Attributes:
        shape: Of the value.

    Raises:
        MaterialError: The law has no such parameter, or it varies in space there.
    """

    def __init__(
        self, materials: QuadratureMaterial | Sequence[QuadratureMaterial], name: str
    ) -> None:
        several = [materials] if isinstance(materials, QuadratureMaterial) else list(materials)
        self.materials, self.name = several, name
        for material in several:
            known = named_leaves(eqx.filter(material.material, eqx.is_array))
            leaves = [k for k in known if k == name or k.startswith(f"{name}.")]
            if not leaves:
                raise MaterialError(
                    f"LawParameter: {material.name} has no parameter '{name}'; it has "
                    f"{', '.join(sorted(known))}"
                )
            varying = set(leaves) & set(material.evaluation.parameter_fields)
            if varying:
                raise MaterialError(
                    f"LawParameter: '{sorted(varying)[0]}' of {material.name} varies in space; "
                    "give it as a dolfinx Function and take Coefficient(function) as the control"
                )
            shapes = {k: np.shape(known[k]) for k in leaves}
            if material is not several[0] and shapes != self._leaves:
                raise MaterialError(
                    f"LawParameter: '{name}' has not the same shape in {several[0].name} and "
                    f"{material.name}"
                )
            first = named_leaves(several[0].material)
            if not all(np.array_equal(known[k], first[k]) for k in shapes):
                raise MaterialError(
                    f"LawParameter: '{name}' has not the same value in {several[0].name} and "
                    f"{material.name}, which are to share it"
                )
            self._leaves: dict[str, tuple[int, ...]] = shapes
        whole = self._leaves.get(name)
        total = sum(int(np.prod(s)) for s in self._leaves.values())
        self.shape = (total,) if whole is None else whole

    @property
    def names(self) -> list[str]:
        """Dotted names of the numbers and arrays."""
        return list(self._leaves)

    def get(self) -> Floats:
        """The present value. Local."""
        known = named_leaves(self.materials[0].material)
        return self.join({k: np.asarray(known[k]) for k in self._leaves})

    def set(self, value: Any) -> None:
        """Give all materials a value.

        Raises:
            MaterialError: A wrong shape, or a value out of the parameter's range.
        """
        values = {k: jnp.asarray(v) for k, v in self.split(value).items()}
        for material in self.materials:
            material.material = replace_parameters(material.material, values)

    def split(self, value: Any) -> dict[str, Floats]:
        """A value as arrays by the law's names."""
        array = np.asarray(value, float)
        if array.shape != self.shape:
            raise MaterialError(
                f"LawParameter '{self.name}': got a value of shape {array.shape}, expected "
                f"{self.shape}"
            )
        flat, start, found = array.ravel(), 0, {}
        for name, shape in self._leaves.items():
            size = int(np.prod(shape))
            found[name] = flat[start : start + size].reshape(shape)
            start += size
        return found

    def join(self, values: dict[str, Floats]) -> Floats:
        """The inverse of ``split``."""
        flat = np.concatenate([np.ravel(values[name]) for name in self._leaves])
        return flat.reshape(self.shape)


class Coefficient:
    """A dolfinx Function or Constant that the problem reads.

    It may stand in the form (a load), in an input or a parameter of a material (a parameter
    field), or be the value of a Dirichlet condition.

    Args:
        data: The Function or Constant.
        per_step: The value may change from step to step (a load history): derivatives have an
            axis of steps in front, and ``set`` is yours to do, in the load function.

    Attributes:
        shape: Of a value, without the axis of steps: of a Constant its own, of a Function
            (number of unknowns on all ranks,), in the global numbering of dolfinx.

    Raises:
        MaterialError: Neither a Function nor a Constant.
    """

    def __init__(self, data: Any, *, per_step: bool = False) -> None:
        if not isinstance(data, dolfinx.fem.Function | dolfinx.fem.Constant):
            raise MaterialError(
                f"Coefficient: expected a dolfinx Function or Constant; got {type(data).__name__}"
            )
        self.data, self.per_step = data, per_step
        self.constant = isinstance(data, dolfinx.fem.Constant)
        if self.constant:
            self.shape: tuple[int, ...] = np.shape(data.value)
        else:
            dofmap = data.function_space.dofmap
            self.shape = (dofmap.index_map.size_global * dofmap.index_map_bs,)

    def get(self) -> Floats:
        """The present value, the same on all ranks. Collective: yes."""
        if self.constant:
            return np.array(self.data.value)
        return self.gather(self.data.x.array[: owned(self.data.function_space)])

    def set(self, value: Any) -> None:
        """Give it a value, the same on all ranks. Collective: yes.

        Raises:
            MaterialError: A wrong shape, or ``per_step``.
        """
        if self.per_step:
            raise MaterialError("Coefficient: with per_step, values are set by your load function")
        self.write(value, self.data)

    def write(self, value: Any, target: Any) -> None:
        """Write a value to a Function or Constant alike. Collective: yes."""
        array = np.asarray(value, float)
        if array.shape != self.shape:
            raise MaterialError(
                f"Coefficient: got a value of shape {array.shape}, expected {self.shape}"
            )
        if self.constant:
            target.value[...] = array
            return
        V = target.function_space
        start = V.dofmap.index_map.local_range[0] * V.dofmap.index_map_bs
        target.x.array[: owned(V)] = array[start : start + owned(V)]
        target.x.scatter_forward()

    def gather(self, local: Floats) -> Floats:
        """Owned values of all ranks in one array. Collective: yes."""
        comm: MPI.Comm = self.data.function_space.mesh.comm
        return np.concatenate(comm.allgather(np.asarray(local)))


class RegionValues(Coefficient):
    """A cell-wise constant Function (DG0) that has one value in each region.

    Args:
        data: Scalar DG0 Function.
        tags: MeshTags of the cells; cells without a tag keep their value.

    Attributes:
        ids: Tags of the regions, sorted; the same on all ranks.
        shape: (regions,).

    Raises:
        MaterialError: Not a scalar DG0 Function, or tags of something else than cells.
            Collective: yes.
    """

    def __init__(self, data: Any, tags: Any) -> None:
        super().__init__(data)
        V: Any = getattr(data, "function_space", None)
        element = None if V is None else V.element.basix_element
        flat = element is not None and element.degree == 0 and V.dofmap.bs == 1
        if V is None or not flat or tags.dim != V.mesh.topology.dim:
            raise MaterialError("RegionValues: give a scalar DG0 Function and MeshTags of cells")
        comm = V.mesh.comm
        self.ids = np.unique(np.concatenate(comm.allgather(np.unique(tags.values))))
        self._region = np.full(owned(V), -1)
        inside = tags.indices < V.mesh.topology.index_map(tags.dim).size_local
        cells = tags.indices[inside]
        dofs = V.dofmap.list[cells].ravel()
        self._region[dofs] = np.searchsorted(self.ids, tags.values[inside])
        self.shape = (len(self.ids),)

    def gather(self, local: Floats) -> Floats:
        """Sums over regions. Collective: yes."""
        known = self._region >= 0
        sums = np.bincount(self._region[known], np.asarray(local)[known], len(self.ids))
        return self.data.function_space.mesh.comm.allreduce(sums)

    def get(self) -> Floats:
        """The mean over each region. Collective: yes."""
        local = self.data.x.array[: len(self._region)]
        return self.gather(local) / self.gather(np.ones_like(local))

    def write(self, value: Any, target: Any) -> None:
        """Write the regions' values. Collective: yes."""
        array = np.asarray(value, float)
        if array.shape != self.shape:
            raise MaterialError(
                f"RegionValues: got a value of shape {array.shape}, expected {self.shape}"
            )
        known = self._region >= 0
        local = target.x.array[: len(self._region)]
        if target is not self.data:
            local[:] = 0.0
        local[known] = array[self._region[known]]
        target.x.scatter_forward()
