"""Experiments that are computed together, as stacked arrays."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from ._schedule import Schedule

#: An experiment is filled up to the length of one that has up to so many times its sub-steps: a
#: compilation takes seconds, a sub-step microseconds.
LONGER = 4


class Group(NamedTuple):
    """Experiments that are computed together; shorter ones are filled up.

    Attributes:
        members: Numbers of the experiments.
        schedules: Stacked.
    """

    members: tuple[int, ...]
    schedules: Schedule


def grouped(schedules: Sequence[Schedule]) -> list[Group]:
    """Experiments with the same names and columns and about the same length, stacked."""
    groups: list[list[int]] = []
    order = sorted(range(len(schedules)), key=lambda k: -len(schedules[k].advance))
    for number in order:
        mine = schedules[number]
        for group in groups:
            longest = schedules[group[0]]
            if _kind(mine) == _kind(longest) and len(longest.advance) <= LONGER * len(mine.advance):
                group.append(number)
                break
        else:
            groups.append([number])
    found = []
    for members in map(sorted, groups):
        steps = max(len(schedules[k].advance) for k in members)
        rows = max(len(schedules[k].ends) for k in members)
        each = [_longer(schedules[k], steps, rows) for k in members]
        found.append(Group(tuple(members), jax.tree.map(lambda *a: np.stack(a), *each)))
    return found


def _kind(s: Schedule) -> Any:
    """What must agree, other than lengths."""
    along = jax.tree.leaves((s.inputs, s.weights, s.capture))  # one row per sub-step
    fixed, tree = jax.tree.flatten((s.source, s.columns, s.factors, s.state, s.parameters))
    names = [sorted(s.inputs), sorted(s.weights)]
    return names, str(tree), [a.shape[1:] for a in along], [a.shape for a in fixed]


def _longer(schedule: Schedule, steps: int, rows: int) -> Schedule:
    """With more sub-steps, without consequences, and more rows, which are not looked at."""
    fill = lambda tree: jax.tree.map(lambda a: filled(a, steps), tree)  # noqa: E731
    return schedule._replace(
        inputs=fill(schedule.inputs),
        weights=fill(schedule.weights),
        capture=filled(schedule.capture, steps, False),
        advance=filled(schedule.advance, steps, False),
        ends=filled(schedule.ends, rows),
    )


def filled(array: Any, length: int, value: Any = None) -> Any:
    """Repeat the last row, or a value, up to a length."""
    last = array[-1:] if value is None else np.full_like(array[-1:], value)
    return np.concatenate([array, np.repeat(last, length - len(array), axis=0)])
