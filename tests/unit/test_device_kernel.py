"""Whole batches of JAX arrays against the batch kernel; here the device is the CPU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dolfinx_admat as admat
from dolfinx_admat.kernels import BatchKernel, DeviceKernel, StatusBuffers

LAW = admat.J2Plasticity(210e3, 0.3, admat.LinearHardening(250.0, 1000.0))


def path(n):
    return np.random.default_rng(1).normal(size=(3, n, 6)) * 2e-3


def test_a_path_on_the_device_equals_the_batch_kernel():
    n, steps = 7, path(7)
    device, batch = DeviceKernel(LAW), BatchKernel(LAW)
    state, kept = device.initial_state(n), batch.initial_state(n)
    for strain in steps:
        result = device.update({"strain": jnp.asarray(strain)}, state)
        state = result.state
        assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state))
        outputs = {"stress": np.zeros((n, 6))}
        new = {name: np.zeros_like(a) for name, a in kept.items()}
        tangent = {("stress", "strain"): np.zeros((n, 6, 6))}
        status = StatusBuffers.allocate(n)
        batch.update(
            {"strain": strain}, kept, 0.0, outputs=outputs, new_state=new, status=status,
            tangent=tangent,
        )  # fmt: skip
        kept = new
        assert status.active.any() and not np.asarray(result.status.code).any()
        # Two backends: the contract is 1e-10 of scale.
        np.testing.assert_allclose(result.outputs["stress"], outputs["stress"], atol=250 * 1e-10)
        block = tangent["stress", "strain"]
        np.testing.assert_allclose(
            result.tangent["stress"]["strain"], block, atol=1e-10 * abs(block).max()
        )
    assert device.update({"strain": jnp.zeros((n, 6))}, state, tangent=False).tangent == {}


def test_wrong_shapes_are_named():
    device = DeviceKernel(LAW)
    with pytest.raises(admat.MaterialError, match=r"inputs have the shapes .*\(2, 3\)"):
        device.update({"strain": jnp.zeros((2, 3))}, device.initial_state(2))
    with pytest.raises(admat.MaterialError, match="state have the shapes"):
        device.update({"strain": jnp.zeros((2, 6))}, device.initial_state(3))


class Printing(admat.ExplicitSmallStrain):
    E: float

    def update(self, strain, state, dt):
        jax.debug.print("strain {}", strain[0])
        return self.E * strain, state


def test_a_law_with_side_effects_keeps_them(capfd):
    kernel = BatchKernel(Printing(2.0))
    status = StatusBuffers.allocate(2)
    outputs = {"stress": np.zeros((2, 6))}
    kernel.update(
        {"strain": np.ones((2, 6))}, {}, 0.0, outputs=outputs, new_state={}, status=status
    )
    jax.effects_barrier()
    assert kernel.backend == "xla"
    assert "strain 1.0" in capfd.readouterr().out
    assert (outputs["stress"] == 2.0).all()
    with pytest.raises(admat.MaterialError, match="side effects"):
        BatchKernel(Printing(2.0), backend="native").prepare()
