"""Learned constitutive laws built of implicit layers."""

from ._part import LearnedPart as LearnedPart
