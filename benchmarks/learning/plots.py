"""Pictures of the section, from results.json and curves.json alone."""

import json
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

import numpy as np

from .models import MODELS
from .section import CURVES

FOLDER = FilePath(__file__).resolve().parents[1]
SETS = ("seen", "unseen_amplitude", "unseen_direction", "unseen_rate", "unseen_length", "noisy")
COLOURS = dict(zip(MODELS, ("#1b6ca8", "#e08e0b", "#b23a48", "#8a8a8a"), strict=True))
NAMES = dict(zip(MODELS, ("implicit", "feed-forward", "LSTM", "wrong family"), strict=True))
_SHOWN = ("j2_mixed", "maxwell", "chaboche", "drucker_prager")


def write(numbers: Mapping[str, float]) -> None:
    """Both pictures, as far as there are numbers and matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        print("no pictures: matplotlib is not installed here")
        return

    def figure(rows: int, columns: int, size: tuple[float, float], **more: Any) -> Any:
        made = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(made)
        return made, made.subplots(rows, columns, squeeze=False, **more)

    errors = {k.removeprefix("learning."): v for k, v in numbers.items()
              if k.startswith("learning.") and k.endswith(".error")}  # fmt: skip
    laws = list(dict.fromkeys(key.split(".")[0] for key in errors))
    if laws:
        made, axes = figure(-(-len(laws) // 3), 3, (11.0, 2.9 * -(-len(laws) // 3)), sharey=True)
        _errors(axes, laws, errors)
        made.savefig(FOLDER / "learning_errors.png", dpi=110)
    curves = json.loads(CURVES.read_text()) if CURVES.exists() else {}
    shown = [law for law in _SHOWN if law in curves]
    if shown:
        made, axes = figure(2, len(shown), (3.0 * len(shown), 5.4))
        _curves(axes, shown, curves)
        made.savefig(FOLDER / "learning_curves.png", dpi=110)


def _errors(axes: Any, laws: list[str], errors: Mapping[str, float]) -> None:
    """Bars by test set and model, a panel for each law."""
    for ax in axes.ravel()[len(laws) :]:
        ax.set_axis_off()
    for ax, law in zip(axes.ravel(), laws, strict=False):
        for k, model in enumerate(MODELS):
            values = [errors.get(f"{law}.{model}.{name}.error", np.nan) for name in SETS]
            at = np.arange(len(SETS)) + 0.2 * (k - 1.5)
            ax.bar(at, values, 0.19, color=COLOURS[model], label=NAMES[model])
        ax.set_yscale("log")
        ax.set_title(law.replace("_", " "), fontsize=10)
        names = [n.replace("unseen_", "") for n in SETS]
        ax.set_xticks(np.arange(len(SETS)), names, fontsize=8, rotation=20)
        ax.grid(axis="y", alpha=0.3)
    for ax in axes[:, 0]:
        ax.set_ylabel("normalised error")
    axes.ravel()[0].legend(fontsize=7, loc="lower right", framealpha=0.9)


def _curves(axes: Any, laws: list[str], curves: Mapping[str, Any]) -> None:
    """Shear stress against shear strain: a path as in training above, a turned one below."""
    for column, law in enumerate(laws):
        for row, name in enumerate(("seen", "unseen_direction")):
            ax, curve = axes[row, column], curves[law][name]
            strain = 100.0 * np.array(curve["strain"], float)
            ax.plot(strain, curve["truth"], "k-", lw=3.0, alpha=0.35, label="truth")
            for model in MODELS:
                if model in curve:
                    stress = np.array(curve[model], float)
                    ax.plot(strain, stress, "-", lw=1.1, color=COLOURS[model], label=NAMES[model])
            about = "as in training" if row == 0 else "other directions"
            ax.set_title(f"{law.replace('_', ' ')}, {about}", fontsize=9)
            ax.set_xlabel(f"strain {curve['component']} (%)", fontsize=8)
            ax.tick_params(labelsize=8)
            ax.grid(alpha=0.3)
        axes[0, column].set_ylabel("stress (MPa)", fontsize=8)
    axes[0, 0].legend(fontsize=7)
