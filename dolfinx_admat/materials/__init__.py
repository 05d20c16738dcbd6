"""Constitutive laws of one material point: base classes and a library of laws."""

from ._declare import AXISYMMETRIC as AXISYMMETRIC
from ._declare import AXISYMMETRIC_TENSOR as AXISYMMETRIC_TENSOR
from ._declare import PLANE_SYMMETRIC as PLANE_SYMMETRIC
from ._declare import PLANE_TENSOR as PLANE_TENSOR
from ._declare import SCALAR as SCALAR
from ._declare import SYMMETRIC as SYMMETRIC
from ._declare import TENSOR as TENSOR
from ._declare import VECTOR as VECTOR
from ._declare import Shape as Shape
from .base import ExplicitFiniteStrain as ExplicitFiniteStrain
from .base import ExplicitLaw as ExplicitLaw
from .base import ExplicitSmallStrain as ExplicitSmallStrain
from .base import Hyperelastic as Hyperelastic
from .base import ImplicitFiniteStrain as ImplicitFiniteStrain
from .base import ImplicitLaw as ImplicitLaw
from .base import ImplicitSmallStrain as ImplicitSmallStrain
from .base import Material as Material
from .base import Step as Step
from .elasticity import IsotropicElasticity as IsotropicElasticity
from .elasticity import LinearElastic as LinearElastic
from .hardening import LinearHardening as LinearHardening
from .hardening import VoceHardening as VoceHardening
from .hyperelasticity import NeoHookean as NeoHookean
from .log_strain import LogarithmicStrain as LogarithmicStrain
from .parameters import Parameters as Parameters
from .parameters import parameter as parameter
from .plasticity import J2Plasticity as J2Plasticity
from .plasticity import J2PlasticityGeneral as J2PlasticityGeneral
from .point import PointResult as PointResult
from .point import evaluate_point as evaluate_point
from .rotation import BungeAngles as BungeAngles
from .rotation import Rotated as Rotated
from .rotation import bunge_rotation as bunge_rotation
from .stress_state import Axisymmetry as Axisymmetry
from .stress_state import PlaneStrain as PlaneStrain
from .stress_state import PlaneStress as PlaneStress
from .stress_state import UniaxialStress as UniaxialStress
from .viscoplasticity import PerzynaViscoplasticity as PerzynaViscoplasticity
from .wrapper import Reduction as Reduction
from .wrapper import Transform as Transform

__all__ = [
    "AXISYMMETRIC",
    "AXISYMMETRIC_TENSOR",
    "PLANE_SYMMETRIC",
    "PLANE_TENSOR",
    "SCALAR",
    "SYMMETRIC",
    "TENSOR",
    "VECTOR",
    "Axisymmetry",
    "BungeAngles",
    "ExplicitFiniteStrain",
    "ExplicitLaw",
    "ExplicitSmallStrain",
    "Hyperelastic",
    "ImplicitFiniteStrain",
    "ImplicitLaw",
    "ImplicitSmallStrain",
    "IsotropicElasticity",
    "J2Plasticity",
    "J2PlasticityGeneral",
    "LinearElastic",
    "LinearHardening",
    "LogarithmicStrain",
    "Material",
    "NeoHookean",
    "Parameters",
    "PerzynaViscoplasticity",
    "PlaneStrain",
    "PlaneStress",
    "PointResult",
    "Reduction",
    "Rotated",
    "Shape",
    "Step",
    "Transform",
    "UniaxialStress",
    "VoceHardening",
    "bunge_rotation",
    "evaluate_point",
    "parameter",
]
