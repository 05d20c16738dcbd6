"""Learned laws and parts with random weights, for their tests."""

import jax
import numpy as np

from dolfinx_admat.learning import weight_names
from dolfinx_admat.materials._declare import leaf_name


def disturbed(part, seed=0, size=1.0):
    """The part or law with all weights moved by normal random numbers, as a fit may move them."""
    rng, names = np.random.default_rng(seed), weight_names(part)
    leaves, tree = jax.tree_util.tree_flatten_with_path(part)
    moved = [
        leaf + size * rng.standard_normal(leaf.shape) if leaf_name(where) in names else leaf
        for where, leaf in leaves
    ]
    return jax.tree.unflatten(tree, moved)


def turn(angle, axis):
    """Rotation matrix about an axis (3,)."""
    n = np.asarray(axis, float) / np.linalg.norm(axis)
    K = np.array([[0.0, -n[2], n[1]], [n[2], 0.0, -n[0]], [-n[1], n[0], 0.0]])
    return np.eye(3) + np.sin(angle) * K + (1.0 - np.cos(angle)) * K @ K
