"""What files may name: the classes and functions that laws of this library are made of.

Case files and law files hold names, never code. A name is looked up here and nowhere else, so
that nothing in a file decides what is imported.
"""

import inspect

import equinox as eqx
import jax
import jax.numpy as jnp

_VOLUMES = ("quadratic_volume", "logarithmic_volume", "simo_miehe_volume")
_NETWORKS = ("GRUCell", "Identity", "LSTMCell", "Lambda", "LayerNorm", "Linear", "MLP", "PReLU",
             "RMSNorm", "Sequential")  # fmt: skip
_JAX_NN = ("celu", "elu", "gelu", "hard_tanh", "leaky_relu", "log_sigmoid", "mish", "relu",
           "relu6", "selu", "sigmoid", "silu", "soft_sign", "softmax", "softplus", "squareplus",
           "tanh")  # fmt: skip
_JAX_NUMPY = ("abs", "arctan", "cos", "cosh", "exp", "expm1", "log1p", "sin", "sinh", "square",
              "tanh")  # fmt: skip


_LATER: dict[str, type[eqx.Module]] = {}


def register(*classes: type[eqx.Module]) -> None:
    """Add classes of the library that are not part of ``materials``."""
    _LATER.update({c.__name__: c for c in classes})


def library_classes() -> dict[str, type[eqx.Module]]:
    """The laws of this library and their parts, by name."""
    from dolfinx_admat import materials  # which has this module in it

    found = vars(materials).items()
    own = {n: v for n, v in found if isinstance(v, type) and issubclass(v, eqx.Module)}
    return own | _LATER


def network_classes() -> dict[str, type[eqx.Module]]:
    """Layers of ``equinox.nn``, by name."""
    return {name: getattr(eqx.nn, name) for name in _NETWORKS}


def library_functions() -> dict[str, object]:
    """Functions that may be parts of a law, by their full names."""
    from dolfinx_admat import materials

    defaults = inspect.signature(eqx.nn.MLP.__init__).parameters
    return {
        **{f"jax.nn.{name}": getattr(jax.nn, name) for name in _JAX_NN},
        **{f"jax.numpy.{name}": getattr(jnp, name) for name in _JAX_NUMPY},
        **{f"dolfinx_admat.{name}": getattr(materials, name) for name in _VOLUMES},
        # A lambda of equinox, so it has no name of its own.
        "equinox.nn.MLP.final_activation": defaults["final_activation"].default,
    }
