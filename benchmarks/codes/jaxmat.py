"""jaxmat 0.0.4 (J. Bleyer), the laws that it ships, called as its own benchmark does.

``filter_jit(filter_vmap(filter_jacfwd(constitutive_update)))`` on arrays that stay in JAX.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from . import Failed, Run

try:
    import jaxmat.materials as jm
    from jaxmat.state import make_batched
    from jaxmat.tensors import SymmetricTensor2, Tensor2
except ImportError:  # not in this environment
    jm = None

PAIRS = np.array([(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)])


def parts(law):
    if jm is None:
        raise Failed("jaxmat is not installed")
    h = law.hardening
    elasticity = jm.LinearElasticIsotropic(float(law.E), float(law.nu))
    sigma_y, Q, b = float(h.sigma_y), float(h.Q), float(h.b)
    return elasticity, jm.VoceHardening(sig0=sigma_y, sigu=sigma_y + Q, b=b)


def radial_return(law):
    return jm.vonMisesIsotropicHardening(*parts(law))


def general(law):
    return jm.GeneralIsotropicHardening(*parts(law), jm.vonMises())


def hosford(law):
    return jm.GeneralIsotropicHardening(*parts(law), jm.Hosford(a=float(law.a)))


def integrator(behavior, tangent):
    update = behavior.constitutive_update
    if tangent:
        update = eqx.filter_jacfwd(update, has_aux=True)
    return eqx.filter_jit(eqx.filter_vmap(update, in_axes=(0, 0, None), out_axes=(0, 0)))


def prepare(make, law, points, tangent):
    """A small-strain law; ``make`` is one of the functions above."""
    parts(law)  # complains if jaxmat is absent
    behavior, n = make(law), points.size
    plastic = jnp.asarray(points.state["plastic_strain"])
    state = behavior.init_state(n)
    # Its state also holds strain and stress at t_n: stress-free, so strain = plastic strain.
    state = state.update(strain=SymmetricTensor2(array=plastic))
    internal = state.internal.update(
        p=jnp.asarray(points.state["equivalent_plastic_strain"]),
        epsp=SymmetricTensor2(array=plastic),
    )
    state = state.update(internal=internal)
    strain = SymmetricTensor2(array=jnp.asarray(points.inputs["strain"]))
    function, last = integrator(behavior, tangent), []

    def call():
        last[:] = [jax.block_until_ready(function(strain, state, points.dt))]

    def results():
        first, new_state = last[0]
        stress = np.asarray(new_state.stress.array)
        if not tangent:
            return {"stress": stress}, {}
        # A tensor of tensors: its leaf is d(stress)/d(strain) in Kelvin components.
        (leaf,) = jax.tree.leaves(first)
        return {"stress": stress}, {("stress", "strain"): np.asarray(leaf)}

    return Run(call, results, n)


def prepare_path(law, inputs, dt, tangent):
    """FeFpJ2Plasticity along a path of deformation gradients.

    Its update does not store the deformation gradient in the state that it returns (version
    0.0.4), so every step would start from F = 1; it is put there between the steps, which costs
    nothing.
    """
    behavior = jm.FeFpJ2Plasticity(*parts(law)) if jm else parts(law)
    gradients = [Tensor2(tensor=jnp.asarray(i["deformation_gradient"])) for i in inputs]
    n = len(inputs[0]["deformation_gradient"])
    virgin = jax.block_until_ready(make_batched(behavior.init_state(), n))
    function, last = integrator(behavior, tangent), []

    def call():
        state = virgin
        for F in gradients:
            first, state = function(F, state, dt)
            state = eqx.tree_at(lambda s: s.F, state, F)
        last[:] = [jax.block_until_ready((first, state))]

    def results():
        first, state = last[0]
        stress = np.asarray(state.PK1.tensor)
        if not tangent:
            return {"first_piola_stress": stress}, {}
        (leaf,) = jax.tree.leaves(first)  # (n, 9, 9) in its own order of components
        order = np.asarray(Tensor2(array=jnp.arange(9.0)).tensor).astype(int).ravel()
        matrix = np.asarray(leaf)[:, order][:, :, order].reshape(n, 3, 3, 3, 3)
        key = ("first_piola_stress", "deformation_gradient")
        return {"first_piola_stress": stress}, {key: matrix}

    return Run(call, results, n * len(inputs))
