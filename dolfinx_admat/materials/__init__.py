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
from .composed import Elastoviscoplastic as Elastoviscoplastic
from .crystal import CubicElasticity as CubicElasticity
from .crystal import FccCrystal as FccCrystal
from .crystal import FccInteraction as FccInteraction
from .crystal import OverstressSlip as OverstressSlip
from .crystal import PowerLawSlip as PowerLawSlip
from .crystal import SlipFlow as SlipFlow
from .crystal import SlipHardening as SlipHardening
from .elasticity import Elastic as Elastic
from .elasticity import Elasticity as Elasticity
from .elasticity import IsotropicElasticity as IsotropicElasticity
from .elasticity import LinearElastic as LinearElastic
from .elasticity import OrthotropicElasticity as OrthotropicElasticity
from .elasticity import TransverselyIsotropicElasticity as TransverselyIsotropicElasticity
from .energies import WithEnergies as WithEnergies
from .finite_plasticity import FeFpJ2 as FeFpJ2
from .generalised_standard import GeneralisedStandard as GeneralisedStandard
from .generalised_standard import GeneralisedStandardFiniteStrain as GeneralisedStandardFiniteStrain
from .generalised_standard import GeneralisedStandardLaw as GeneralisedStandardLaw
from .generalised_standard import smoothed_norm as smoothed_norm
from .hardening import LinearHardening as LinearHardening
from .hardening import SwiftHardening as SwiftHardening
from .hardening import TabulatedHardening as TabulatedHardening
from .hardening import VoceHardening as VoceHardening
from .hyperelasticity import HolzapfelGasserOgden as HolzapfelGasserOgden
from .hyperelasticity import Incompressible as Incompressible
from .hyperelasticity import MooneyRivlin as MooneyRivlin
from .hyperelasticity import NeoHookean as NeoHookean
from .hyperelasticity import Ogden as Ogden
from .hyperelasticity import SplitHyperelastic as SplitHyperelastic
from .hyperelasticity import logarithmic_volume as logarithmic_volume
from .hyperelasticity import quadratic_volume as quadratic_volume
from .hyperelasticity import simo_miehe_volume as simo_miehe_volume
from .kinematic import ArmstrongFrederick as ArmstrongFrederick
from .kinematic import KinematicHardening as KinematicHardening
from .kinematic import Prager as Prager
from .kinematic import StaticRecovery as StaticRecovery
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
from .temperature import Polynomial as Polynomial
from .temperature import Table as Table
from .temperature import TemperatureDependent as TemperatureDependent
from .temperature import ThermalExpansion as ThermalExpansion
from .thermomechanics import ThermoMechanical as ThermoMechanical
from .viscoelasticity import GeneralisedMaxwell as GeneralisedMaxwell
from .viscoelasticity import Zener as Zener
from .viscoplasticity import PerzynaViscoplasticity as PerzynaViscoplasticity
from .viscous_flow import NortonFlow as NortonFlow
from .viscous_flow import ViscousFlow as ViscousFlow
from .wrapper import Reduction as Reduction
from .wrapper import Transform as Transform
from .yield_functions import DruckerPrager as DruckerPrager
from .yield_functions import Hill48 as Hill48
from .yield_functions import Hosford as Hosford
from .yield_functions import VonMises as VonMises
from .yield_functions import YieldFunction as YieldFunction

__all__ = [
    "AXISYMMETRIC",
    "AXISYMMETRIC_TENSOR",
    "PLANE_SYMMETRIC",
    "PLANE_TENSOR",
    "SCALAR",
    "SYMMETRIC",
    "TENSOR",
    "VECTOR",
    "ArmstrongFrederick",
    "Axisymmetry",
    "BungeAngles",
    "CubicElasticity",
    "DruckerPrager",
    "Elastic",
    "Elasticity",
    "Elastoviscoplastic",
    "ExplicitFiniteStrain",
    "ExplicitLaw",
    "ExplicitSmallStrain",
    "FccCrystal",
    "FccInteraction",
    "FeFpJ2",
    "GeneralisedMaxwell",
    "GeneralisedStandard",
    "GeneralisedStandardFiniteStrain",
    "GeneralisedStandardLaw",
    "Hill48",
    "HolzapfelGasserOgden",
    "Hosford",
    "Hyperelastic",
    "ImplicitFiniteStrain",
    "ImplicitLaw",
    "ImplicitSmallStrain",
    "Incompressible",
    "IsotropicElasticity",
    "J2Plasticity",
    "J2PlasticityGeneral",
    "KinematicHardening",
    "LinearElastic",
    "LinearHardening",
    "LogarithmicStrain",
    "Material",
    "MooneyRivlin",
    "NeoHookean",
    "NortonFlow",
    "Ogden",
    "OrthotropicElasticity",
    "OverstressSlip",
    "Parameters",
    "PerzynaViscoplasticity",
    "PlaneStrain",
    "PlaneStress",
    "PointResult",
    "Polynomial",
    "PowerLawSlip",
    "Prager",
    "Reduction",
    "Rotated",
    "Shape",
    "SlipFlow",
    "SlipHardening",
    "SplitHyperelastic",
    "StaticRecovery",
    "Step",
    "SwiftHardening",
    "Table",
    "TabulatedHardening",
    "TemperatureDependent",
    "ThermalExpansion",
    "ThermoMechanical",
    "Transform",
    "TransverselyIsotropicElasticity",
    "UniaxialStress",
    "ViscousFlow",
    "VoceHardening",
    "VonMises",
    "WithEnergies",
    "YieldFunction",
    "Zener",
    "bunge_rotation",
    "evaluate_point",
    "logarithmic_volume",
    "parameter",
    "quadratic_volume",
    "simo_miehe_volume",
    "smoothed_norm",
]
