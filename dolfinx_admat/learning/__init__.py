"""Learned constitutive laws built of implicit layers."""

from ._part import LearnedPart as LearnedPart
from .training_range import Distances as Distances
from .training_range import TrainingRange as TrainingRange
