"""What a run says about each claim of the two papers.

A claim is a list of comparisons "A is ahead of B", each settled by a paired 95% interval over seeds and places:
the claim holds when every interval lies above zero, does not hold when one lies below, and is undecided otherwise.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from eo_ssl.course import published
from eo_ssl.course.claims import CLAIMS, Claim, Entry
from eo_ssl.evaluate.intervals import Interval
from eo_ssl.experiments.plan import get_method
from eo_ssl.experiments.tables import compare, finished

HOLDS, IN_PART, FAILS, OPEN, NOT_RUN = "holds", "holds as far as run", "does not hold", "undecided", "not run"
STATUSES = (HOLDS, IN_PART, FAILS, OPEN, NOT_RUN)
# What stands in where a profile does not train the published variant.
STAND_INS = {"simclr-rgb-finetune": "simclr-finetune"}


@dataclass(frozen=True)
class Part:
    """One comparison: the published difference (None where there is none) and that of this run (None: not run)."""

    first: Entry
    second: Entry
    published: float | None
    here: Interval | None


@dataclass(frozen=True)
class Outcome:
    """A claim with its comparisons; `status` is one of the five words at the top of this module."""

    claim: Claim
    parts: tuple[Part, ...]

    @property
    def run(self) -> tuple[Part, ...]:
        """The comparisons that this run has the models for."""
        return tuple(part for part in self.parts if part.here is not None)

    @property
    def status(self) -> str:
        """What the intervals say."""
        found = [part.here for part in self.run if part.here is not None]
        if not found:
            return NOT_RUN
        if any(one.high < 0 for one in found):
            return FAILS
        if any(one.low <= 0 for one in found):
            return OPEN
        return HOLDS if len(found) == len(self.parts) else IN_PART

    @property
    def closest(self) -> Part | None:
        """The comparison that decides: the one with the lowest interval."""
        return min(
            self.run, key=lambda part: part.here.high if self.status == FAILS else part.here.low, default=None
        )


def examine(results: pd.DataFrame, folder: str | Path, claims: Sequence[Claim] = CLAIMS) -> list[Outcome]:
    """Every claim with what was published and what this run measured; models that were not run are no error."""
    found = finished(results)
    run = {(r.task, r.method, round(r.fraction, 6)) for r in found.itertuples()} if len(found) else set()
    seen: dict[tuple[str, str, Entry, Entry], Interval] = {}
    outcomes = []
    for claim in claims:
        parts = []
        for pair in claim.parts:
            first, second = (_stand_in(run, claim.task, entry) for entry in pair)
            here = None
            if all((claim.task, m, round(f, 6)) in run for m, f in (first, second)):
                key = (claim.task, claim.metric, first, second)
                if key not in seen:
                    seen[key] = compare(folder, results, claim.task, first, second, claim.metric).difference
                here = seen[key]
            parts.append(Part(first, second, gap(claim, *pair), here))
        outcomes.append(Outcome(claim, tuple(parts)))
    return outcomes


def gap(claim: Claim, first: Entry, second: Entry) -> float | None:
    """The published difference of two entries, None where one of them was not published."""
    a, b = (published.score(claim.paper, claim.task, *entry) for entry in (first, second))
    return None if a is None or b is None or not claim.published else float(a["value"] - b["value"])


def _stand_in(run: set[tuple[str, str, float]], task: str, entry: Entry) -> Entry:
    method, fraction = entry
    other = STAND_INS.get(method, method)
    replaced = (task, method, round(fraction, 6)) not in run and (task, other, round(fraction, 6)) in run
    return (other, fraction) if replaced else entry


def published_words(claim: Claim) -> str:
    """The closest of the published comparisons: "≈ 65.3 against 62 ± 4 %", each number with the mark of its kind."""
    pairs = [(gap(claim, *pair), pair) for pair in claim.parts]
    known = [(found, pair) for found, pair in pairs if found is not None]
    if not known:
        return published.NOT_PUBLISHED
    _, pair = min(known, key=lambda one: one[0])
    a, b = (published.score(claim.paper, claim.task, *entry) for entry in pair)
    several = len({f for one in claim.parts for _, f in one}) > 1 and pair[0][1] == pair[1][1]
    where = f" with {100 * pair[0][1]:g}% of the labels" if several else ""
    return f"{_number(a)} against {_number(b)} %{where}"


def _number(row: pd.Series) -> str:
    spread = f" ± {100 * row['spread']:.0f}" if np.isfinite(row["spread"]) else ""
    return published.MARKS[row["kind"]].format(f"{100 * row['value']:g}{spread}")


def words(outcome: Outcome) -> str:
    """One sentence: what this run says about the claim, by the comparison that decides."""
    part, claim = outcome.closest, outcome.claim
    note = f" ({claim.note})" if claim.note else ""
    if part is None or part.here is None:
        return f"This profile does not train what it needs{note}."
    low, value, high = (100 * x for x in (part.here.low, part.here.value, part.here.high))
    verb = "is ahead of" if low > 0 else "is behind" if high < 0 else "cannot be told from"
    some = (
        ""
        if len(outcome.run) == len(outcome.parts)
        else f"; {len(outcome.run)} of {len(outcome.parts)} comparisons run"
    )
    return (
        f"{_entry(part.first)} {verb} {_entry(part.second)}: {_points(value)} points ({_points(low)} to {_points(high)})"
        f"{some}{note}."
    )


def _points(value: float) -> str:
    return re.sub(r"^[+-]0\.0$", "0.0", f"{value:+.1f}")


def _entry(entry: Entry) -> str:
    method, fraction = entry
    return f"{get_method(method).label} at {100 * fraction:g}%"


def verdict(outcome: Outcome, evidence: bool) -> str:
    """The status in the words of the page; a smoke run gives no evidence whatever its numbers are."""
    return outcome.status if evidence or outcome.status == NOT_RUN else "no evidence"
