"""Section ``tangent``: implicit, unrolled and finite-difference tangents of the same laws.

All on the xla backend (the native one is implicit only), in chunks of one size: time, compile
time, working memory per point (XLA's temporary buffers), and error against the reference.
"""

import jax

from dolfinx_admat import MaterialError

from .cases import CASES
from .codes import own, plain
from .kernels import worst_error
from .timing import interleaved

STRATEGIES = ("implicit", "unrolled", "finite_difference")
POINTS = 2048  # one chunk


def measure(say, only=None):
    numbers: dict[str, float] = {}
    jax.config.update("jax_enable_compilation_cache", False)  # compile times are measured
    for name in CASES:
        if only and name not in only:
            continue
        law, runs = CASES[name].law, {}
        points = CASES[name].draw(POINTS, True)
        expected = plain.reference(law, points)
        say(f"\n{name}")
        for strategy in STRATEGIES:
            try:
                run, seconds, memory = own.compile_xla(law, points, True, strategy)
            except MaterialError as error:  # e.g. it needs a derivative too many
                say(f"  {strategy}: impossible: {str(error).splitlines()[1].strip()}")
                continue
            run.call()
            prefix = f"tangent.{name.removesuffix('_random')}.{strategy}"
            numbers[f"{prefix}.max_error"] = worst_error(({}, run.results()[1]), ({}, expected[1]))
            numbers[f"{prefix}.bytes_per_point"] = memory
            numbers[f"{prefix}.compile_seconds"] = seconds
            runs[strategy] = run
        timings = interleaved({s: run.call for s, run in runs.items()}, budget=2.0)
        for strategy, timing in timings.items():
            prefix = f"tangent.{name.removesuffix('_random')}.{strategy}"
            numbers[f"{prefix}.points_per_second"] = POINTS / timing.best
            say(
                f"  {strategy:18s} {POINTS / timing.best / 1e6:8.3f} M/s  error "
                f"{numbers[prefix + '.max_error']:.1e}  {numbers[prefix + '.bytes_per_point']:7.0f}"
                f" bytes per point  compile {numbers[prefix + '.compile_seconds']:.1f} s"
            )
    return numbers
