"""Learned laws and parts with random weights, for their tests."""

import equinox as eqx
import jax
import numpy as np


def disturbed(part, seed=0, size=1.0):
    """The part with all weights moved by normal random numbers: as large as a fit may make them."""
    rng = np.random.default_rng(seed)
    leaves, tree = jax.tree.flatten(part)
    moved = [
        leaf + size * rng.standard_normal(leaf.shape) if eqx.is_inexact_array(leaf) else leaf
        for leaf in leaves
    ]
    return jax.tree.unflatten(tree, moved)


def turn(angle, axis):
    """Rotation matrix about an axis (3,)."""
    n = np.asarray(axis, float) / np.linalg.norm(axis)
    K = np.array([[0.0, -n[2], n[1]], [n[2], 0.0, -n[0]], [-n[1], n[0], 0.0]])
    return np.eye(3) + np.sin(angle) * K + (1.0 - np.cos(angle)) * K @ K
