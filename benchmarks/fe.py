"""Sections ``fe`` and ``mpi``: the finite element part of a Newton iteration."""

import os


def measure(say, only=None):
    """Microseconds and peak memory per quadrature point of all pipelines, one core."""
    from . import fe_pipeline

    numbers: dict[str, float] = {}
    for element in fe_pipeline.ELEMENTS:
        if not only or element in only:
            found = fe_pipeline.measure(element, 100_000)
            fe_pipeline.print_table(found, element)
            peaks = fe_pipeline.memory(element, 100_000)
            for key, value in peaks.items():
                say(f"  {key:40s} {value:8.0f} bytes, beside mesh, space and u")
            numbers |= found | peaks
    return numbers


def measure_parallel(say, only=None):
    """CPU time of one rank over the total CPU time of two, the same problem."""
    cores = len(os.sched_getaffinity(0))
    if cores < 2:
        say("needs two cores: nothing measured")
        return {}
    from . import fe_pipeline

    numbers = fe_pipeline.efficiency(100_000, 2)
    numbers["mpi.2.efficiency"] = min(numbers.values())
    for key, value in numbers.items():
        say(f"  {key:32s} {value:.3f}")
    return numbers
