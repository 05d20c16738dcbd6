"""What ``check_tangent`` and ``audit`` found."""

import dataclasses
from enum import StrEnum

import numpy as np

from ._samples import SamplePoint


class Outcome(StrEnum):
    """Verdict about one thing."""

    PASSED = "passed"
    FAILED = "FAILED"
    NOT_APPLICABLE = "not applicable"
    NOT_CHECKABLE = "not checkable"
    INFORMATION = "information"


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: What, e.g. "objectivity".
        outcome: The verdict.
        reason: One line, with figures.
        worst: The worst point, to look at it again: ``evaluate_point(law, *worst)``.
    """

    name: str
    outcome: Outcome
    reason: str
    worst: SamplePoint | None = None


@dataclasses.dataclass(frozen=True)
class TangentRow:
    """One block of the tangent in one regime.

    Attributes:
        output: Name of the output.
        input: Name of the input.
        regime: Where the points are, e.g. "just after yield".
        points: How many converged.
        resolved: At how many of them the differences are good enough to judge.
        error: Largest difference from central differences, relative to the block.
        tolerance: What is allowed at that point: ten times the estimated error of the
            differences, and what the tolerance of the local solve makes of the tangent.
        unrolled: Largest difference from the derivative through the iterations, relative to the
            block; None where it was not computed.
        passed: Error and difference are within what is allowed at each point.
        worst: The point of the largest error, relative to what is allowed.
    """

    output: str
    input: str
    regime: str
    points: int
    resolved: int
    error: float
    tolerance: float
    unrolled: float | None
    passed: bool
    worst: SamplePoint | None


class _Findings:
    findings: tuple[Finding, ...]

    def __getitem__(self, name: str) -> Finding:
        """A finding by its name."""
        for finding in self.findings:
            if finding.name == name:
                return finding
        raise KeyError(f"no finding '{name}'; there are {[f.name for f in self.findings]}")

    @property
    def failures(self) -> tuple[Finding, ...]:
        """Findings that failed."""
        return tuple(f for f in self.findings if f.outcome == Outcome.FAILED)

    def _lines(self) -> list[str]:
        width = max((len(f.name) for f in self.findings), default=0)
        lines = []
        for f in self.findings:
            lines.append(f"  {f.name:<{width}}  {f.outcome.value:<14}  {f.reason}")
            if f.outcome == Outcome.FAILED and f.worst is not None:
                lines += _replay(f.worst)
        return lines


@dataclasses.dataclass(frozen=True)
class TangentReport(_Findings):
    """Result of ``check_tangent``.

    Attributes:
        law: Name of the law.
        backend: Backend whose tangent was checked.
        scale: Sizes of the inputs around which points were sampled.
        dt: Step.
        rows: The table, one row per block and regime.
        findings: Declarations, elastic test, convergence.
    """

    law: str
    backend: str
    scale: dict[str, float]
    dt: float
    rows: tuple[TangentRow, ...]
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Nothing failed."""
        return all(row.passed for row in self.rows) and not self.failures

    def __str__(self) -> str:
        """The table and the findings."""
        sizes = ", ".join(f"{name} {size:.1e}" for name, size in self.scale.items())
        verdict = "passed" if self.passed else "FAILED"
        lines = [
            f"check_tangent: {self.law} {verdict}",
            f"  backend {self.backend}; sizes: {sizes}; dt {self.dt:g}",
        ]
        if self.rows:
            names = [f"d({r.output})/d({r.input})" for r in self.rows]
            wide, deep = max(map(len, names)), max(len(r.regime) for r in self.rows)
            lines.append(
                f"  {'block':<{wide}}  {'regime':<{deep}}  {'points':>6} {'judged':>6} "
                f"{'error':>8} {'allowed':>8} {'unrolled':>8}"
            )
            for name, row in zip(names, self.rows, strict=True):
                unrolled = "-" if row.unrolled is None else f"{row.unrolled:.1e}"
                lines.append(
                    f"  {name:<{wide}}  {row.regime:<{deep}}  {row.points:>6} {row.resolved:>6} "
                    f"{row.error:>8.1e} {row.tolerance:>8.1e} {unrolled:>8}"
                    + ("" if row.passed else "  FAILED")
                )
                if not row.passed and row.worst is not None:
                    lines += _replay(row.worst)
        return "\n".join(lines + self._lines())


@dataclasses.dataclass(frozen=True)
class AuditReport(_Findings):
    """Result of ``audit``.

    Attributes:
        law: Name of the law.
        findings: What was looked at.
    """

    law: str
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Nothing failed."""
        return not self.failures

    def __str__(self) -> str:
        """One line per finding."""
        head = f"audit: {self.law} {'passed' if self.passed else 'FAILED'}"
        return "\n".join([head, *self._lines()])


def _replay(point: SamplePoint) -> list[str]:
    """A point as text that ``evaluate_point`` understands."""

    def text(value: object) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{k!r}: {text(v)}" for k, v in value.items()) + "}"
        if isinstance(value, list | tuple):
            return "[" + ", ".join(map(text, value)) + "]"
        return " ".join(str(np.asarray(value).tolist()).split())

    return [
        "    evaluate_point(law,",
        f"        {text(point.inputs)},",
        f"        {text(point.state)}, dt={point.dt!r})",
    ]
