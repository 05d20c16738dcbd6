"""Calibration: parameters of a law from experiments at a point, by exact gradients."""

from dolfinx_admat import _jax_cache

_jax_cache.enable()  # what is compiled for a fit is kept for the next one

from .experiment import Experiment as Experiment  # noqa: E402
from .experiment import data_hash as data_hash  # noqa: E402
from .fit import Iterate as Iterate  # noqa: E402
from .fit import fit as fit  # noqa: E402
from .free import Free as Free  # noqa: E402
from .free import FreeParameters as FreeParameters  # noqa: E402
from .free import FreeVector as FreeVector  # noqa: E402
from .plot import plot as plot  # noqa: E402
from .residuals import Residuals as Residuals  # noqa: E402
from .result import FitResult as FitResult  # noqa: E402
from .statistics import Loss as Loss  # noqa: E402
from .statistics import Statistics as Statistics  # noqa: E402
from .statistics import confidence_intervals as confidence_intervals  # noqa: E402
from .stochastic import fit_stochastic as fit_stochastic  # noqa: E402
