"""The finite element part: needs dolfinx, ufl, petsc4py and mpi4py."""

from .. import _jax_cache, _runtime
from ._environment import check_environment

check_environment()  # before anything else: a wrong installation must say so clearly

from . import _ffcx_cache  # noqa: E402

_runtime.prefer_cpu()
_jax_cache.enable()
_ffcx_cache.configure()

from .extrapolation import Beyond as Beyond  # noqa: E402
from .extrapolation import Extrapolation as Extrapolation  # noqa: E402
from .extrapolation import Farthest as Farthest  # noqa: E402
from .kinematics import (  # noqa: E402
    axisymmetric_deformation_gradient as axisymmetric_deformation_gradient,
)
from .kinematics import axisymmetric_gradient as axisymmetric_gradient  # noqa: E402
from .kinematics import axisymmetric_strain as axisymmetric_strain  # noqa: E402
from .kinematics import deformation_gradient as deformation_gradient  # noqa: E402
from .kinematics import plane_deformation_gradient as plane_deformation_gradient  # noqa: E402
from .kinematics import plane_gradient as plane_gradient  # noqa: E402
from .kinematics import plane_strain as plane_strain  # noqa: E402
from .kinematics import strain as strain  # noqa: E402
from .kinematics import with_dilatation as with_dilatation  # noqa: E402
from .kinematics import with_volume_ratio as with_volume_ratio  # noqa: E402
from .mesh_io import MeshData as MeshData  # noqa: E402
from .mesh_io import read_mesh as read_mesh  # noqa: E402
from .mesh_io import write_mesh as write_mesh  # noqa: E402
from .output import ResultWriter as ResultWriter  # noqa: E402
from .output import cell_average as cell_average  # noqa: E402
from .picture import render as render  # noqa: E402
from .problem import MaterialProblem as MaterialProblem  # noqa: E402
from .problem import SolveReport as SolveReport  # noqa: E402
from .problem import material_derivative as material_derivative  # noqa: E402
from .quadrature import QuadratureMaterial as QuadratureMaterial  # noqa: E402
from .stepping import LoadStep as LoadStep  # noqa: E402
from .stepping import LoadStepper as LoadStepper  # noqa: E402

if _runtime.stop_at_second_solve:
    from ._warm import stop_at_second_solve

    stop_at_second_solve()
