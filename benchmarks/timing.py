"""Time several computations in turn, so that a change of the machine's speed hits all alike."""

import gc
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple


class Timing(NamedTuple):
    """Seconds per call: minimum and median of the repetitions, and how many there were."""

    best: float
    median: float
    repetitions: int


def interleaved(
    calls: dict[str, Callable[[], Any]],
    *,
    budget: float = 4.0,
    least: int = 5,
    most: int = 200,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, Timing]:
    """A B C A B C ...: every computation until it has used its budget (seconds).

    All must have run before. Short ones are repeated within one measurement, to 2 ms. The clock
    is the CPU time of this process: pinned to one core, it does not count the work of others.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    used = dict.fromkeys(calls, 0.0)
    inner = dict.fromkeys(calls, 1)
    gc.collect()
    gc.disable()
    try:
        for repetition in range(most):
            for name, call in calls.items():
                if repetition >= least and used[name] > budget:
                    continue
                start = clock()
                for _ in range(inner[name]):
                    call()
                spent = clock() - start
                used[name] += spent
                seconds[name].append(spent / inner[name])
                if repetition == 0:
                    inner[name] = max(1, int(2e-3 / max(spent, 1e-7)))
            if repetition >= least and all(t > budget for t in used.values()):
                break
    finally:
        gc.enable()
    return {
        name: Timing(min(times), statistics.median(times), len(times))
        for name, times in seconds.items()
    }
