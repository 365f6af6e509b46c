"""Drift: which results of a run differ from those last released by more than chance explains.

For one row (task, method, fraction, metric) let m be the released mean with its interval [l, u], m' the mean of
the new run, and S the number of seeds. The row has *moved* when

    |m' − m| > max(reach, noise)
    reach = u − m where the new mean is higher, m − l where it is lower
    noise = t · s · sqrt(1/S)

**reach** says: the new mean lies outside the released 95% interval, over seeds and places.

**noise** widens it for the new run's own uncertainty. Both runs are tested on the same patches and train from the
same seeds, so what is new about the new run is what happens to a training on its way: sums in another order on
another device. The seeds tell how much that is: d = (new − released) of each seed is a constant where code or
settings moved the result, and scatters where only chance did. So s is the standard deviation of d within rows,
pooled over all methods of the same task, fraction and metric, which gives it many degrees of freedom ν. An
interval over three seeds is short (its resamples never leave the three values), and of many rows some leave theirs
by chance; so t is the quantile of Student's distribution with ν at 1 − 0.05 / (2 · rows): where nothing changed,
about one run in twenty, or fewer, reports anything (Bonferroni). Two runs that repeat each other exactly have no
noise, and the released interval stands alone; so it does with one seed, which has no scatter to measure.

Runs with other seeds are not paired: s is then the standard deviation over seeds in both runs, and 1/S + 1/S'
stands under the root.

Where a row is the same in both runs it never moves, whatever its interval.
"""

from collections import defaultdict
from dataclasses import dataclass
from math import sqrt
from typing import Any

from eo_ssl.errors import ConfigError

FALSE_ALARMS = 0.05  # share of unchanged runs that may report a row that moved
Key = tuple[str, str, float, str]
Row = dict[str, Any]


@dataclass(frozen=True)
class Move:
    """A row in the release and in the new run, and how far apart the two may be."""

    before: Row
    after: Row
    reach: float
    noise: float

    @property
    def change(self) -> float:
        """New mean minus released mean."""
        return self.after["mean"] - self.before["mean"]

    @property
    def allowed(self) -> float:
        """The difference up to which the row counts as unchanged."""
        return max(self.reach, self.noise, 0.0)

    @property
    def moved(self) -> bool:
        """True if chance does not explain the difference."""
        return abs(self.change) > self.allowed


@dataclass(frozen=True)
class Drift:
    """What changed between a release and a run: rows compared, rows only in the run, rows only in the release."""

    release: dict[str, Any]
    run: dict[str, Any]
    compared: tuple[Move, ...]
    new: tuple[Row, ...]
    gone: tuple[Row, ...]

    @property
    def moved(self) -> tuple[Move, ...]:
        """Rows that differ by more than chance explains, the largest change first."""
        return tuple(sorted((m for m in self.compared if m.moved), key=lambda m: -abs(m.change)))


def key(row: Row) -> Key:
    """What makes two rows the same result."""
    return row["task"], row["method"], row["fraction"], row["metric"]


def compare(release: dict[str, Any], run: dict[str, Any]) -> Drift:
    """Compare the summary of a run with the release of the same profile and data (both from `summarise`).

    Raises `ConfigError` where the two were made from other data or at another profile: then every number may
    differ, and none of it is drift.
    """
    for name, word in (("profile", "profile"), ("data_version", "data")):
        if release[name] != run[name]:
            raise ConfigError(
                f"the release was made with {word} {release[name]!r} and this run with {run[name]!r}: their "
                "results cannot be compared; `eo-ssl course release` makes this run the release"
            )
    before, after = ({key(row): row for row in side["rows"]} for side in (release, run))
    pairs = [(before[k], after[k]) for k in before if k in after]
    noise = _noise(pairs, paired=release["seeds"] == run["seeds"])
    new = tuple(row for k, row in after.items() if k not in before)
    gone = tuple(row for k, row in before.items() if k not in after)
    moves = tuple(Move(b, a, _reach(b, a), amount) for (b, a), amount in zip(pairs, noise))
    return Drift(release, run, moves, new, gone)


def _reach(before: Row, after: Row) -> float:
    """From the released mean to the end of its interval that lies towards the new mean."""
    up = after["mean"] >= before["mean"]
    return before["high"] - before["mean"] if up else before["mean"] - before["low"]


def _noise(pairs: list[tuple[Row, Row]], paired: bool) -> list[float]:
    """t · s · sqrt(1/S) for each pair of rows; 0 where no method of the family has two seeds."""
    from scipy.stats import t

    squares, freedom = defaultdict(float), defaultdict(int)
    for before, after in pairs:
        for values in _scattered(before, after, paired):
            centre = sum(values) / len(values)
            squares[_family(before)] += sum((value - centre) ** 2 for value in values)
            freedom[_family(before)] += len(values) - 1
    noise = []
    for before, after in pairs:
        family = _family(before)
        degrees = freedom[family]
        quantile = float(t.ppf(1 - FALSE_ALARMS / (2 * len(pairs)), degrees)) if degrees else 0.0
        share = sum(1 / len(values) for values in _scattered(before, after, paired))
        noise.append(quantile * sqrt(squares[family] / max(degrees, 1)) * sqrt(share))
    return noise


def _scattered(before: Row, after: Row, paired: bool) -> list[list[float]]:
    """The values whose scatter is noise: differences seed by seed, or those of both runs each for itself."""
    old, new = before["values"], after["values"]
    if paired and len(old) == len(new):
        return [[b - a for a, b in zip(old, new)]]
    return [old, new]


def _family(row: Row) -> tuple[str, float, str]:
    return row["task"], row["fraction"], row["metric"]


def markdown(drift: Drift) -> str:
    """The comparison in words and as a table of what moved, for a terminal or a job summary."""
    release, moved = drift.release, drift.moved
    made = f"{release['date'][:10]}, {release['device']}, commit {release['commit']}"
    lines = [
        f"{len(drift.compared)} results compared with the release of profile {release['profile']} ({made}): "
        + (f"**{len(moved)} moved**." if moved else "none moved."),
    ]
    if moved:
        lines += [
            "",
            "| result | labels | released [95%] | now | change | allowed |",
            "|---|--:|---|--:|--:|--:|",
        ]
        lines += [_line(move) for move in moved]
    for rows, what in ((drift.new, "New, not in the release"), (drift.gone, "In the release, gone now")):
        if rows:
            lines += ["", f"{what}: {'; '.join(name(row) for row in rows)}."]
    return "\n".join(lines)


def _line(move: Move) -> str:
    b, a = move.before, move.after
    released = f"{b['mean']:.4f} [{b['low']:.4f}, {b['high']:.4f}]"
    return (
        f"| {name(b)} | {b['n_labels']} | {released} | {a['mean']:.4f} | {move.change:+.4f} "
        f"| ±{move.allowed:.4f} |"
    )


def name(row: Row) -> str:
    """A row in words.

    >>> name({"task": "single", "method": "late", "label": "Late fusion", "fraction": 0.1, "metric": "aa"})
    'single, Late fusion, 10% of labels, aa'
    """
    return f"{row['task']}, {row['label']}, {100 * row['fraction']:g}% of labels, {row['metric']}"
