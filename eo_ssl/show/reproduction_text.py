"""Tables and sentences of chapter 11: what was claimed, what was published, and what this run says."""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from eo_ssl.course import published
from eo_ssl.course.reproduction import NOT_RUN, STAND_INS, STATUSES, Outcome, published_words, verdict, words
from eo_ssl.experiments.plan import get_method
from eo_ssl.show.evidence import caution
from eo_ssl.show.results import table
from eo_ssl.show.tables import Table

_SHORT = {"Shrubland": "Shrub", "Grassland": "Grass", "Wetlands": "Wetl.", "Croplands": "Crop"}


def claims_table(outcomes: Sequence[Outcome], evidence: bool) -> Table:
    """What was claimed, what was published, what this run says; one section per paper."""
    rows: list[tuple[str, ...]] = []
    for name in published.PAPERS:
        rows.append((f"{published.paper(name)['title']}: {published.paper(name)['setting']}",))
        for one in (o for o in outcomes if o.claim.paper == name):
            said = f"**{verdict(one, evidence)}**"
            rows.append((one.claim.text, published_words(one.claim), said, words(one)))
    note = "" if evidence else "**Smoke run, no evidence: the sentences only show that they can be made.** "
    caption = (
        f"{note}Quoted is the comparison that decides, in points of the claim's score, with its paired 95% interval over "
        "seeds and places. ≈ digitised from a figure, † quoted by others, all else read from a table."
    )
    return Table(("claim", "published", "here", "in this run"), tuple(rows), caption, wide=(1, 3), dense=True)


def tally(outcomes: Sequence[Outcome], evidence: bool) -> str:
    """How many published claims hold, do not, are undecided or were not run, and what chance alone would do."""
    outcomes = [one for one in outcomes if one.claim.published]
    found = [one.status for one in outcomes]
    tested = len(found) - found.count(NOT_RUN)
    if not evidence:
        return caution(evidence) + (
            f"{tested} of {len(found)} claims could be looked at with the models of this profile. What the intervals of "
            "models trained for a few updates say about them is chance."
        )
    said = [f"{status} **{found.count(status)}**" for status in STATUSES if status in found]
    return (
        f"Of {len(found)} published claims: {', '.join(said)}. Each interval errs once in twenty by its making, so "
        f"among {tested} tested claims about {0.05 * tested:.1f} may look settled that are not."
    )


def headline(outcome: Outcome, evidence: bool) -> str:
    """One claim in full: what was claimed, and the comparison that decides."""
    return (
        f"{caution(evidence)}The headline of the first paper: *{outcome.claim.text}.* In this run: "
        f"**{verdict(outcome, evidence)}**. {words(outcome)}"
    )


def beside(results: pd.DataFrame, task: str) -> Table:
    """The published table of a task and that of this run in one form, in percent: the averages first, then the classes.

    The methods are those of the paper, fine-tuned with all labels; SimCLR has all bands where RGB was not run.
    """
    theirs = published.table(task)
    columns = [*theirs.columns[-2:], *theirs.columns[:-2]]
    methods = list(dict.fromkeys(published.scores("fusion", task).query("kind == 'table'")["method"]))
    labels = [get_method(m).label for m in (*methods, *STAND_INS.values())]
    ours = table(results, task).reindex(columns=columns)
    ours = ours[ours.index.isin(labels)]
    rows: list[tuple[str, ...]] = [("published",)]
    for head, part in (("", theirs), ("this run", ours)):
        rows += [(head,)] if head else []
        for name, line in part[columns].iterrows():
            cells = (re.sub(r"\s±\s", "±", str(cell)) for cell in line)  # narrow: eleven columns
            rows.append((str(name).removesuffix(", fine-tuned"), *cells))
    head = ("Method", *(_SHORT.get(c, c) for c in columns))
    what = {"single": "recall of each class", "multi": "F1 of each class"}[task]
    caption = (
        f"With all labels, in percent: averages and {what}, mean ± standard deviation over runs or seeds."
    )
    return Table(head, tuple(rows), caption, dense=True)


def pairing(paired: Sequence[float], apart: Sequence[float], evidence: bool) -> str:
    """What pairing did to an interval; both are (difference, low, high)."""
    wide, narrow = (float(np.ptp(one[1:])) for one in (apart, paired))
    said = f"{wide / narrow:.1f} times as wide" if narrow < wide else "no wider"
    return caution(evidence) + (
        f"Taken as if from different patches, the interval would be {said}: {100 * wide:.0f} points instead of "
        f"{100 * narrow:.0f}. The more alike the mistakes of two methods, the more pairing helps."
    )
