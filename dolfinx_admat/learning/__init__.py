"""Learned constitutive laws built of implicit layers.

Convex and increasing networks are put where classical laws have an energy, a yield function, a
hardening curve or a viscosity. The laws are generalised standard materials: the update of their
internal variables is the library's local Newton solve, an implicit layer with implicit
derivatives. They obey thermodynamics whatever their weights are, and run wherever laws run.
"""

from dolfinx_admat.materials.registry import register as _register

from ._part import LearnedPart as LearnedPart
from ._part import weight_names as weight_names
from .curves import MonotoneCurve as MonotoneCurve
from .data import random_deformation_paths as random_deformation_paths
from .data import random_strain_paths as random_strain_paths
from .data import simulate as simulate
from .elastoviscoplastic import LearnedElastoviscoplastic as LearnedElastoviscoplastic
from .elastoviscoplastic import PlasticBranch as PlasticBranch
from .export import ExportedLaw as ExportedLaw
from .export import export_law as export_law
from .export import load_exported as load_exported
from .gauges import AnisotropicGauge as AnisotropicGauge
from .gauges import IsotropicGauge as IsotropicGauge
from .hyperelastic import LearnedHyperelastic as LearnedHyperelastic
from .hyperelastic import PolyconvexEnergy as PolyconvexEnergy
from .networks import ConvexNetwork as ConvexNetwork
from .networks import MonotoneNetwork as MonotoneNetwork
from .networks import PartiallyConvexNetwork as PartiallyConvexNetwork
from .parts import LearnedHardening as LearnedHardening
from .parts import LearnedViscosity as LearnedViscosity
from .potentials import NetworkPotential as NetworkPotential
from .potentials import Potential as Potential
from .potentials import RadialPotential as RadialPotential
from .scales import Scales as Scales
from .train import train as train
from .training import Epoch as Epoch
from .training import NormalisedError as NormalisedError
from .training import Training as Training
from .training import normalised_error as normalised_error
from .training_range import Distances as Distances
from .training_range import TrainingRange as TrainingRange
from .viscoelastic import LearnedViscoelastic as LearnedViscoelastic
from .viscoelastic import MaxwellBranch as MaxwellBranch

# What law files may name.
_register(
    AnisotropicGauge, ConvexNetwork, IsotropicGauge, LearnedElastoviscoplastic, LearnedHardening,
    LearnedHyperelastic, LearnedViscoelastic, LearnedViscosity, MaxwellBranch, MonotoneCurve,
    MonotoneNetwork, NetworkPotential, PartiallyConvexNetwork, PlasticBranch, PolyconvexEnergy,
    RadialPotential,
)  # fmt: skip
