"""Markdown tables from results.json, written between the markers of README.md beside this file."""

import re
from pathlib import Path

from . import results

PAGE = Path(__file__).with_name("README.md")
FRONT = PAGE.parents[1] / "README.md"
CODES = ("native", "xla", "plain_vmap", "jaxmat", "cpp", "xla_gpu")
QUANTITIES = {
    "points_per_second": "stress + tangent",
    "stress_points_per_second": "stress",
    "elastic_points_per_second": "stress + tangent, all elastic",
}


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def figure(value, scale=1.0):
    """Three digits, or a dash where nothing was measured."""
    if value is None:
        return "-"
    value *= scale
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def split(numbers, section):
    """Keys of a section as tuples of their parts."""
    return {tuple(k.split(".")[1:]): v for k, v in numbers.items() if k.startswith(section + ".")}


def kernels(numbers):
    found = split(numbers, "kernel")
    batches = sorted({(law, int(n)) for law, n, *_ in found})
    codes = [c for c in CODES if any(key[2] == c for key in found)]
    rows = []
    for law, n in batches:
        for quantity, meaning in QUANTITIES.items():
            values = [found.get((law, str(n), code, quantity)) for code in codes]
            if any(v is not None for v in values):
                cells = [figure(v, 1e-6) for v in values]
                rows.append([f"`{law}`", f"{n:.0e}".replace("e+0", "e"), meaning, *cells])
    return table(["law", "points", "computed", *(f"`{c}`" for c in codes)], rows)


def tangent(numbers):
    found = split(numbers, "tangent")
    rows = []
    for law in dict.fromkeys(key[0] for key in found):
        for strategy in ("implicit", "unrolled", "finite_difference"):
            get = lambda what, law=law, s=strategy: found.get((law, s, what))  # noqa: E731
            if get("points_per_second") is not None:
                rows.append(
                    [
                        f"`{law}`",
                        strategy.replace("_", " "),
                        figure(get("points_per_second"), 1e-6),
                        f"{get('max_error'):.0e}",
                        figure(get("bytes_per_point"), 1e-3),
                        figure(get("compile_seconds")),
                    ]
                )
    head = ["law", "tangent", "M points/s", "largest error", "scratch kB/point", "compile s"]
    return table(head, rows)


def compile_times(numbers):
    found = split(numbers, "compile")
    rows = [
        [f"`{law}`", *(figure(found.get((law, kind))) for kind in ("cold_seconds", "warm_seconds"))]
        for law in dict.fromkeys(key[0] for key in found)
    ]
    return table(["law", "cold s", "warm s"], rows)


def fe(numbers):
    found = split(numbers, "fe")
    stages = ("strain", "material", "residual", "jacobian")
    unit = "microseconds_per_point"
    rows = []
    for element, pipeline in dict.fromkeys(key[:2] for key in found):
        values = [found.get((element, pipeline, stage, unit)) for stage in stages]
        values.append(found.get((element, pipeline, unit)))
        values.append(found.get((element, pipeline, "bytes_per_point")))
        rows.append([element.replace("_", " "), f"`{pipeline}`", *map(figure, values)])
    return table(["element", "pipeline", *stages, "total", "peak bytes per point"], rows)


def wrappers(numbers):
    found = split(numbers, "wrapper")
    rows = []
    for law, kind in dict.fromkeys(key[:2] for key in found):
        cells = []
        for backend in ("native", "xla"):
            get = lambda what, b=backend, key=(law, kind): found.get((*key, b, what))  # noqa: E731
            cells += [figure(get("points_per_second"), 1e-6), figure(get("over_3d"))]
        rows.append([f"`{law}`", kind.replace("_", " "), *cells])
    return table(["law", "wrapper", "`native`", "of 3D", "`xla`", "of 3D"], rows)


def learned_kernels(numbers):
    found = split(numbers, "learned")
    get = lambda law, backend: found.get((law, backend, "points_per_second"))  # noqa: E731
    rows = [
        [law.replace("_", " "), *(figure(get(law, b), 1e-6) for b in ("native", "xla"))]
        for law in dict.fromkeys(key[0] for key in found)
    ]
    return table(["learned law", "`native`", "`xla`"], rows)


def others(numbers):
    rows = [
        [f"`{key}`", figure(value)]
        for key, value in numbers.items()
        if key.split(".")[0] in ("mpi", "solver", "sensitivity")
    ]
    return table(["key", "value"], rows)


def speed(numbers):
    """The short table of the front page."""
    found = split(numbers, "kernel")
    names = {
        "j2_scalar": "J2, radial return (1 unknown)",
        "j2_general": "J2 as it stands in a textbook (7)",
        "hosford": "Hosford's yield function (7)",
        "fefp_j2_random": "finite-strain J2 (7)",
        "fcc12": "crystal with 12 slip systems (18)",
        "chaboche2": "Chaboche, two backstresses (19)",
    }
    codes = ("native", "xla", "plain_vmap", "jaxmat", "cpp")
    rows = [
        [name, *(figure(found.get((law, "10000", c, "points_per_second")), 1e-6) for c in codes)]
        for law, name in names.items()
    ]
    head = ("law (unknowns)", "`native`", "`xla`", "plain JAX", "jaxmat", "C++ by hand")
    return table(head, rows)


MODELS = {
    "implicit_gsm": "implicit",
    "feedforward": "feed-forward",
    "lstm": "LSTM",
    "wrong_family": "wrong family",
}
BLACK_BOXES = ("feedforward", "lstm")
UNSEEN = ("unseen_amplitude", "unseen_direction", "unseen_rate")
LAWS = ("j2_mixed", "swift_norton", "hosford", "maxwell", "chaboche", "drucker_prager", "treloar")


def percent(value):
    """Two digits, in percent."""
    return "-" if value is None else f"{float(f'{100.0 * value:.2g}'):g}"


def by_model(numbers):
    """(law, model, getter of numbers) of what was measured, in order."""
    found = split(numbers, "learning")
    for law in LAWS:
        for model in MODELS:
            if any(key[:2] == (law, model) for key in found):
                yield law, model, lambda *name, at=(law, model): found.get((*at, *name))


def learning_errors(numbers):
    sets = ("seen", *UNSEEN, "unseen_length", "noisy")
    others = (
        ("paths_5", "seen"), ("paths_5", "unseen_direction"), ("paths_50", "seen"),
        ("paths_50", "unseen_direction"), ("updates_4x", "seen"), ("turned", "seen"),
        ("turned", "unseen_direction"),
    )  # fmt: skip
    rows = [
        [f"`{law}`", MODELS[model], *(percent(get(name, "error")) for name in sets),
         *(percent(get(*name, "error")) for name in others)]
        for law, model, get in by_model(numbers)
    ]  # fmt: skip
    head = (
        "law", "model", "seen", "amplitude", "direction", "rate", "length", "noisy",
        "5 paths, seen", "5, direction", "50 paths, seen", "50, direction", "4x updates, seen",
        "turned, seen", "turned, direction",
    )  # fmt: skip
    return table(head, rows)


def learning_more(numbers):
    rows = [
        [
            f"`{law}`", MODELS[model], figure(get("weights")), figure(get("train_seconds")),
            percent(get("violations")), figure(get("failed_paths")), percent(get("fe_steps")),
            figure(get("fe_iterations")), percent(get("fe_force_error")),
        ]
        for law, model, get in by_model(numbers)
    ]  # fmt: skip
    head = (
        "law", "model", "weights", "training s", "cycles that give work %", "failed paths",
        "plate: steps %", "iterations", "force off by %",
    )  # fmt: skip
    return table(head, rows)


def learning(numbers):
    """The short table of the front page."""
    found = split(numbers, "learning")
    rows = []
    for law in LAWS:
        get = lambda model, name, law=law: found.get((law, model, name, "error"))  # noqa: E731
        if all(get(model, "seen") is None for model in MODELS):
            continue
        cells = [
            " / ".join(percent(get(model, name)) for name in ("seen", *UNSEEN)) for model in MODELS
        ]
        ratios = [
            min(boxes) / own
            for own, *boxes in (
                [get(model, name) for model in ("implicit_gsm", *BLACK_BOXES)] for name in UNSEEN
            )
            if own and all(boxes)
        ]
        short = [f"{float(f'{r:.2g}'):g}" for r in (min(ratios), max(ratios))] if ratios else []
        span = " to ".join(short) or "-"
        rows.append([f"`{law}`", *cells, span])
    head = ("law", *MODELS.values(), "best black box / implicit, unseen")
    return table(head, rows)


TABLES = {
    "speed": speed,
    "kernels": kernels,
    "tangent": tangent,
    "compile": compile_times,
    "wrappers": wrappers,
    "learned_kernels": learned_kernels,
    "fe": fe,
    "others": others,
    "learning": learning,
    "learning errors": learning_errors,
    "learning more": learning_more,
}


def write() -> None:
    """Replace what stands between ``<!-- NAME -->`` and ``<!-- end -->`` on both pages."""
    numbers = results.read()
    made = {name: make(numbers) for name, make in TABLES.items()} | {"machine": results.machine()}
    for page in (PAGE, FRONT):
        text = page.read_text()
        for name, content in made.items():
            marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
            text = marked.sub(lambda m, c=content: f"{m[1]}\n{c}\n\n{m[2]}", text)
        page.write_text(text)
