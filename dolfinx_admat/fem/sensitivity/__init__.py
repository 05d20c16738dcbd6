"""Derivatives of whole finite element runs: discrete adjoint and tangent-linear problem."""

from .controls import Coefficient as Coefficient
from .controls import LawParameter as LawParameter
from .controls import RegionValues as RegionValues
from .fit import StructureFit as StructureFit
from .fit import fit_structure as fit_structure
from .objective import Objective as Objective
from .observations import Cotangents as Cotangents
from .observations import Integral as Integral
from .observations import Observer as Observer
from .observations import Reaction as Reaction
from .observations import Tangents as Tangents
from .points import PointDisplacements as PointDisplacements
from .points import PointMatrix as PointMatrix
from .recording import Recording as Recording
