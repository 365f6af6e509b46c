"""What more unlabelled patches change: a measurement kept with the course, made by `benchmarks/more_unlabelled.py`."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from eo_ssl.course.session import project_root
from eo_ssl.errors import DataError
from eo_ssl.evaluate.methods import get_method
from eo_ssl.files import read_json
from eo_ssl.show.figure import FAINT, GRID, PALETTE, describe

Measurement = dict[str, Any]
NAME, MAKE = "more_unlabelled.json", "python benchmarks/more_unlabelled.py"
NOT_MEASURED = f"*Not yet measured: `{MAKE}` does it, after a laptop run, in about half an hour.*"
FEW = 0.1


def read_measurement(path: Path | None = None) -> Measurement | None:
    """The kept measurement, None where there is none; raises `DataError` naming what a damaged file lacks."""
    path = path or project_root() / "book" / "results" / NAME
    if not path.is_file():
        return None
    found = read_json(path)
    lacking = [key for key in ("baseline", "rows", "commit", "machine", "date", "seeds") if key not in found]
    if lacking or not found["rows"]:
        raise DataError(f"{path}: {', '.join(lacking) or 'rows'} missing; make it again: {MAKE}")
    return found


def variant(row: dict[str, Any]) -> str:
    """One pretraining in words.

    >>> variant({"unlabelled": 1764, "epochs": 30, "updates": 390})
    '1,764 pairs, 30 epochs (390 updates)'
    """
    return f"{row['unlabelled']:,} pairs, {row['epochs']} epochs ({row['updates']:,} updates)"


def ahead_of_supervised(found: Measurement, method: str = "dual-finetune") -> Figure:
    """Points ahead of the best supervised model with all labels: a row per pretraining, a mark per share of labels."""
    rows = [row for row in found["rows"] if row["method"] == method]
    names = list(dict.fromkeys(map(variant, rows)))
    shares = sorted({row["fraction"] for row in rows})
    fig, ax = plt.subplots(figsize=(7.4, 0.8 + 0.55 * len(names)))
    ax.axvline(0, color=FAINT, linewidth=1)
    said = []
    for k, (share, colour) in enumerate(zip(shares, PALETTE)):
        mine = [row for row in rows if row["fraction"] == share]
        y = np.array([names.index(variant(row)) for row in mine]) + 0.24 * (k - (len(shares) - 1) / 2)
        gap = 100 * np.array([[row["difference"][key] for key in ("value", "low", "high")] for row in mine])
        ax.errorbar(gap[:, 0], y, xerr=np.abs(gap[:, 1:] - gap[:, :1]).T, fmt="os^D"[k], color=colour, ms=5, capsize=2,
                    label=f"{100 * share:g}% of the labels")  # fmt: skip
        said += [f"{variant(row)}, {100 * share:g}%: {_signed(row)}" for row in mine]
    ax.set_yticks(range(len(names)), names)
    rival = get_method(found["baseline"]["method"]).label.lower()
    ax.set(ylim=(len(names) - 0.5, -0.5), xlabel=f"points of AA ahead of {rival} with all labels")
    ax.grid(axis="x", color=GRID)
    fig.legend(loc="outside upper center", ncols=len(shares))
    return describe(fig, f"{get_method(method).label} against {rival} with all labels. {'; '.join(said)}.")


def words(found: Measurement, method: str = "dual-finetune") -> str:
    """What the measurement says about the headline claim at a tenth of the labels, variant by variant."""
    rival = get_method(found["baseline"]["method"]).label.lower()
    lines = []
    all_labels = {variant(r): r for r in found["rows"] if r["method"] == method and r["fraction"] == 1.0}
    for row in (r for r in found["rows"] if r["method"] == method and np.isclose(r["fraction"], FEW)):
        low, high = row["difference"]["low"], row["difference"]["high"]
        verdict = "**holds**" if low > 0 else "**does not hold**" if high < 0 else "is undecided"
        found_back = f"{100 * row['top5']:.0f}% of cases, by chance in {100 * row['chance_top5']:.1f}%"
        lines.append(
            f"- {variant(row)}: {_signed(row)} points; the claim {verdict}. "
            f"With all labels {_signed(all_labels[variant(row)])}. "
            f"Held-out pairs find each other among the first five in {found_back}."
        )
    return (
        f"{get_method(method).label} with {100 * FEW:g}% of the labels, against {rival} with all of them:\n\n"
        + "\n".join(lines)
    )


def provenance(found: Measurement) -> str:
    """Where, when and from which code it was measured."""
    cpu = found["machine"].get("cpu", "an unnamed processor")
    return (
        f"Measured once, on {cpu} ({found['machine'].get('cores', '?')} cores), {found['date']}, commit {found['commit']}: "
        f"one pretraining each, {found['seeds']} fine-tuning seeds, intervals paired over seeds and places."
    )


def _signed(row: dict[str, Any]) -> str:
    value, low, high = (100 * row["difference"][key] for key in ("value", "low", "high"))
    return f"{value:+.1f} ({low:+.1f} to {high:+.1f})".replace("-", "−")


def lesson(found: Measurement, method: str = "dual-finetune") -> str:
    """Which helped more, epochs or patches, as far as the best variant of each goes; no interval is claimed here."""
    rows = [row for row in found["rows"] if row["method"] == method and np.isclose(row["fraction"], FEW)]
    fewest = min(row["unlabelled"] for row in rows)
    usual = min((row for row in rows if row["unlabelled"] == fewest), key=lambda row: row["epochs"])
    gains = [
        max(
            (100 * (row["mean"] - usual["mean"]) for row in rows if row is not usual and more(row)),
            default=np.nan,
        )
        for more in (lambda row: row["unlabelled"] == fewest, lambda row: row["unlabelled"] > fewest)
    ]
    said = (
        f"More epochs on the same patches changed the score at {100 * FEW:g}% by {gains[0]:+.1f} points, more patches by "
        f"{gains[1]:+.1f}: best of each, without an interval."
    )
    advice = "As one would expect: more epochs teach a network *those* scenes, more scenes what scenes have in common."
    return f"{said.replace('-', '−')} {advice if gains[1] > max(gains[0], 0) else ''}".strip()
