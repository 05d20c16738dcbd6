"""Section ``kernels``: points per second of the batched laws, one core.

Every code gets the same points, works from memory to memory, and is checked against a reference
before it is timed. On a machine where JAX sees a GPU, ``measure_gpu`` times the xla backend with
arrays that stay on the device.
"""

import time
from functools import partial

import jax
import numpy as np

from .cases import CASES
from .codes import Failed, cpp, jaxmat, own, plain
from .timing import interleaved

LIMIT = 1e-10  # largest error of stress and tangent over the largest component
POINTS = 10_000
MANY = 1_000_000
PUBLISHED_STEPS = 20

OURS = {
    "native": partial(own.prepare, backend="native"),
    "xla": partial(own.prepare, backend="xla"),
    "plain_vmap": plain.prepare,
}
PEERS = {
    "j2_scalar": {"cpp": cpp.prepare, "jaxmat": partial(jaxmat.prepare, jaxmat.radial_return)},
    "j2_general": {"cpp": cpp.prepare, "jaxmat": partial(jaxmat.prepare, jaxmat.general)},
    "hosford": {"jaxmat": partial(jaxmat.prepare, jaxmat.hosford)},
}
TASKS = (("points_per_second", True), ("stress_points_per_second", False))
SCALED = ("j2_scalar", "j2_general")  # laws that are also timed with 1e6 points


def worst_error(found, expected):
    """Largest error of (outputs, tangents) over the largest component of each array."""
    worst = 0.0
    for got, want in zip(found, expected, strict=True):
        for name in got:
            difference = np.abs(got[name] - want[name]).max()
            worst = max(worst, float(difference / np.abs(want[name]).max()))
            if not np.isfinite(got[name]).all():
                return np.inf
    return worst


def checked(runs, expected, say):
    """The runs whose results agree with the reference; the others are printed."""
    good = {}
    for name, make in runs.items():
        try:
            start = time.perf_counter()
            run = make()
            run.call()
            first = time.perf_counter() - start
            error = worst_error(run.results(), expected)
        except Failed as reason:
            say(f"    {name}: not timed: {reason}")
            continue
        verdict = "" if error <= LIMIT else f"  NOT TIMED: error above {LIMIT:g}"
        say(f"    {name}: first call {first:.1f} s, error {error:.0e}{verdict}")
        if error <= LIMIT:
            good[name] = run
    return good


def timed(runs, **options):
    """Points per second by name, and the ratio of median to minimum as a measure of noise."""
    timings = interleaved({name: run.call for name, run in runs.items()}, **options)
    return {name: (runs[name].updates / t.best, t.median / t.best) for name, t in timings.items()}


def report(prefix, speeds, quantity, numbers, say):
    for code, (speed, noise) in speeds.items():
        numbers[f"{prefix}.{code}.{quantity}"] = speed
        say(f"  {prefix:32s} {code:12s} {quantity:28s} {speed / 1e6:9.3f} M/s  noise {noise:.2f}")


def measure_law(name, numbers, say, budget=2.0, points=POINTS):
    """All codes on one law: stress + tangent, stress alone, and all-elastic points."""
    case, prefix = CASES[name], f"kernel.{name}.{points}"
    codes = OURS | PEERS.get(name, {})
    tasks = [(quantity, True, tangent) for quantity, tangent in TASKS]
    if case.has_elastic_test:
        tasks.append(("elastic_points_per_second", False, True))
    for quantity, plastic, tangent in tasks:
        batch = case.draw(points, plastic)
        outputs, tangents = plain.reference(case.law, batch)
        expected = (outputs, tangents if tangent else {})
        runs = {code: partial(make, case.law, batch, tangent) for code, make in codes.items()}
        good = checked(runs, expected, say)
        report(prefix, timed(good, budget=budget, least=3), quantity, numbers, say)


def measure_scaling(name, numbers, say):
    """Cost per point at 1e6 points over that at 1e4, both in one run."""
    case, runs = CASES[name], {}
    for points in (POINTS, MANY):
        batch = case.draw(points, True)
        head = batch._replace(
            inputs={k: v[:POINTS] for k, v in batch.inputs.items()},
            state={k: v[:POINTS] for k, v in batch.state.items()},
        )
        expected = plain.reference(case.law, head)
        codes = OURS | {"cpp": cpp.prepare} if name == "j2_scalar" else OURS
        for code, make in codes.items():
            try:
                run = make(case.law, batch, True)
                run.call()
                found = jax.tree.map(lambda a: a[:POINTS], run.results())
                if (error := worst_error(found, expected)) > LIMIT:
                    raise Failed(f"error {error:.0e}")
                runs[f"{points}.{code}"] = run
            except Failed as reason:
                say(f"    {code}: not timed: {reason}")
    speeds = timed(runs, budget=4.0, least=2)
    for key, (speed, noise) in speeds.items():
        points, code = key.split(".")
        if int(points) == MANY:
            report(
                f"kernel.{name}.{MANY}", {code: (speed, noise)}, "points_per_second", numbers, say
            )
            ratio = speeds[f"{POINTS}.{code}"][0] / speed
            numbers[f"kernel.{name}.{MANY}.{code}.cost_over_{POINTS}"] = ratio
            say(f"    {code}: a point costs {ratio:.2f} times what it costs in a batch of {POINTS}")


def published_path(points):
    """jaxmat's own benchmark: isochoric tension to 5 % in 20 steps, all points alike.

    Source: generate_performance_data.py in jaxmat's documentation.
    """
    path = []
    for step in range(1, PUBLISHED_STEPS + 1):
        stretch = 1.0 + 0.05 * step / PUBLISHED_STEPS
        F = np.diag([stretch, stretch**-0.5, stretch**-0.5])
        path.append({"deformation_gradient": np.tile(F, (points, 1, 1))})
    return path


def measure_published(numbers, say, sizes=(10_000, 100_000)):
    """fefp_j2 on jaxmat's benchmark; its tangent is reported, but only its stress must be right."""
    law, dt = CASES["fefp_j2_random"].law, 1.0 / PUBLISHED_STEPS
    makers = {
        "native": partial(own.prepare_path, backend="native"),
        "xla": partial(own.prepare_path, backend="xla"),
        "plain_vmap": plain.prepare_path,
        "jaxmat": jaxmat.prepare_path,
    }
    small = published_path(100)
    wanted = plain.prepare_path(law, small, dt, True)
    wanted.call()
    for points in sizes:
        path = published_path(points)
        # With 1e5 points jaxmat takes a minute per call: once must do, and with tangent only.
        large = points == max(sizes)
        for quantity, tangent in TASKS[: 1 if large else 2]:
            runs = {}
            for code, make in makers.items():
                try:
                    run = make(law, path, dt, tangent)
                    run.call()
                    outputs, tangents = jax.tree.map(lambda a: a[:100], run.results())
                    error = worst_error((outputs, {}), (wanted.results()[0], {}))
                    off = worst_error(({}, tangents), wanted.results())
                    say(f"    {code}: error of stress {error:.0e}, of tangent {off:.0e}")
                    if error > LIMIT or (off > LIMIT and code != "jaxmat"):
                        raise Failed("error above the limit")
                    runs[code] = run
                except Failed as reason:
                    say(f"    {code}: not timed: {reason}")
            speeds = timed(runs, budget=4.0, least=1 if large else 2)
            report(f"kernel.fefp_j2.{points}", speeds, quantity, numbers, say)


def measure(say, only=None):
    """All laws, or those named; returns the numbers."""
    numbers: dict[str, float] = {}
    for name in CASES:
        if only and name not in only:
            continue
        say(f"\n{name}")
        measure_law(name, numbers, say)
        if name in SCALED:
            measure_scaling(name, numbers, say)
    if not only or "fefp_j2" in only:
        say("\nfefp_j2: jaxmat's published benchmark")
        measure_published(numbers, say)
    return numbers


def measure_gpu(say, only=None):
    """The xla backend on a GPU: kernel with arrays that stay there, and transfers apart."""
    if jax.default_backend() != "gpu":
        say("JAX sees no GPU here: nothing measured on one")
        return {}
    numbers: dict[str, float] = {}
    for name, case in CASES.items():
        if only and name not in only:
            continue
        say(f"\n{name} on {jax.devices()[0].device_kind}")
        expected = plain.reference(case.law, case.draw(POINTS, True))
        for points in (POINTS, MANY):
            batch, prefix = case.draw(points, True), f"kernel.{name}.{points}.xla_gpu"
            for quantity, tangent in TASKS:
                run = own.prepare_device(case.law, batch, tangent)
                seconds = -time.perf_counter()
                run.call()
                seconds += time.perf_counter()
                if points == POINTS:
                    found = run.results()
                    error = worst_error(found, expected)
                    say(f"    {quantity}: compiled in {seconds:.1f} s, error {error:.0e}")
                    if error > LIMIT:
                        say("    NOT TIMED")
                        continue
                timing = interleaved({"": run.call}, clock=time.perf_counter)[""]
                numbers[f"{prefix}.{quantity}"] = points / timing.best
                say(f"  {prefix} {quantity} {points / timing.best / 1e6:.2f} M/s")
            left, right = (next(iter(d.values())) for d in (case.law.outputs, case.law.inputs))
            arrays = {
                "inputs_to_device": (next(iter(batch.inputs.values())), False),
                "stresses_to_host": (np.ones((points, *left)), True),
                "tangents_to_host": (np.ones((points, *left, *right)), True),
            }
            for what, (array, to_host) in arrays.items():
                numbers[f"{prefix}.{what}_seconds"] = transfer(array, to_host)
    return numbers


def transfer(array, to_host):
    """Seconds to move an array between the memories."""
    times = []
    for _ in range(5):
        # A new one each time: JAX remembers the host's copy of an array that it has fetched.
        on_device = jax.block_until_ready(jax.device_put(array) + 0.0)
        start = time.perf_counter()
        np.asarray(on_device) if to_host else jax.block_until_ready(jax.device_put(array))
        times.append(time.perf_counter() - start)
    return min(times)
