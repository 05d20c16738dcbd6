"""Calibration: parameters of a law from experiments at a point, by exact gradients."""

from .experiment import Experiment as Experiment
from .experiment import data_hash as data_hash
from .fit import Iterate as Iterate
from .fit import fit as fit
from .free import Free as Free
from .free import FreeParameters as FreeParameters
from .free import FreeVector as FreeVector
from .plot import plot as plot
from .residuals import Residuals as Residuals
from .result import FitResult as FitResult
from .statistics import Loss as Loss
from .statistics import Statistics as Statistics
from .statistics import confidence_intervals as confidence_intervals
from .stochastic import fit_stochastic as fit_stochastic
