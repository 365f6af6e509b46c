"""The capstone: its rubric, the settings both sides share, and the checks of its milestones."""

import re
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rasterio
from IPython.display import Markdown

from chapters.ch02 import confusion_counts
from eo_ssl.course.checks import exercise, expect, expect_close, expect_shape, numbers
from eo_ssl.evaluate.intervals import Interval, paired_difference
from eo_ssl.evaluate.metrics import average_accuracy
from eo_ssl.experiments.plan import get_plan
from eo_ssl.sensors import CLASS_NAMES, IGNORE, NUM_CLASSES

SPLITS = ("train", "val", "test")
SAID = ("question", "first", "second", "points", "because")  # of a plan
PARTS = ("question", "data", "result", "limits")  # of a report
LEAST_WORDS = 100
TOO_SURE = ("proves", "proven", "state of the art", "obviously")


def milestones() -> list[dict[str, Any]]:
    """The rubric: milestone, points, what earns all of them (full), what earns half."""
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))["rubric"]


def rubric() -> Markdown:
    """The rubric as a table."""
    lines = ["| milestone | points | all of them | half of them |", "|---|--:|---|---|"]
    lines += ["| {milestone} | {points} | {full} | {half} |".format(**one) for one in milestones()]
    total = sum(one["points"] for one in milestones())
    return Markdown("\n".join([*lines, f"| **together** | **{total}** | | |"]))


def settings(run: Any) -> dict[str, Any]:
    """What every model of milestone 4 shares: network, crop, updates, and rates that were not tuned for either."""
    plan = get_plan(run.profile.name)
    rate = plan.rates[len(plan.rates) // 2]
    network = {"backbone": run.profile.resnet, "image_size": run.profile.image_size}
    return {**network, **asdict(plan.classify), "lr_head": rate, "lr_backbone": rate * plan.ratio}


@exercise("the question", "Whatever comes out now, you will have learned something.")
def check_plan(plan: Callable[[], dict]) -> None:
    """A question, two sides, and a number that was expected."""
    said = plan()
    expect(isinstance(said, dict), f"Return a dictionary with the keys {', '.join(SAID)}.")
    _expect_all(SAID, [key for key, value in said.items() if value not in (None, "")], "said yet")
    expect("?" in str(said["question"]), "A question ends with a question mark: what would answer yours?")
    expect(said["first"] != said["second"], "The two sides are the same; nothing can come out of that.")
    points = numbers(said["points"], "points")
    expect(points.ndim == 0, "points is one number: the difference that you expect.")
    sized = points == 0 or 0.5 <= abs(points) <= 100
    expect(sized, "points are percentage points: 5, not 0.05, and not a ratio. 0 means: no difference.")


def _expect_all(wanted: Sequence[str], there: Iterable[str], what: str) -> None:
    missing = [name for name in wanted if name not in set(there)]
    expect(not missing, f"Not {what}: {', '.join(missing)}.")


@exercise("the splits", "Keep this table: every limit of your result begins in it.")
def check_look(look: Callable[[Any], Any], source: Any) -> None:
    """Patches, regions and classes of every split, against a count of our own."""
    got = pd.DataFrame(look(source))
    got = got if set(SPLITS) & set(got.index) else got.T
    _expect_all(SPLITS, got.index, "a row of the table")
    _expect_all(("patches", "regions", *CLASS_NAMES), got.columns, "a column of the table")
    regions = {}
    for part in SPLITS:
        rows, row, what = source.rows(part), got.loc[part], f"in {part}"
        catalog = source.catalog.iloc[rows]
        regions[part] = set(catalog["region"])
        expect_close(row["patches"], len(rows), f"The number of patches {what}")
        scenes = {"these are scenes; a region holds several": catalog["scene"].nunique()}
        expect_close(row["regions"], len(regions[part]), f"The number of regions {what}", mistakes=scenes)
        counts = class_counts(source, rows)
        for name, count in zip(CLASS_NAMES, counts):
            share = {"this is a share; count patches": count / max(1, counts.sum())}
            expect_close(
                row[name], count, f"The number of patches {what} that are mostly {name}", mistakes=share
            )
    shared = (regions["train"] | regions["val"]) & regions["test"] - {""}
    expect(not shared, f"Regions on two sides: {', '.join(sorted(shared)[:3])}. Split by region first.")


def class_counts(source: Any, rows: np.ndarray) -> np.ndarray:
    """Patches of each class by majority, (8,); those without a label are left out."""
    labels = source.majority(rows)
    return np.bincount(labels[labels != IGNORE], minlength=NUM_CLASSES)


@exercise("the baseline", "This is the number that a network has to beat.")
def check_baseline(baseline: Callable[[Any], Any], source: Any) -> None:
    """Classes of the test patches, from band statistics."""
    _expect_classes(baseline(source), source)


@exercise("frozen encoders", "Random filters keep colours and textures. Now see what training adds.")
def check_frozen(frozen: Callable[[Any, Any], Any], run: Any) -> None:
    """Classes of the test patches, from the features of the untrained pair."""
    got = frozen(run, None)
    _expect_classes(got, run.source())
    again = np.array_equal(numbers(got), numbers(frozen(run, None)))
    expect(again, "A second call gave other classes: something is drawn at random, or trains on.")


def _expect_classes(got: Any, source: Any) -> None:
    """Fail unless these are classes of all test patches, not all the same, and not too good to be true."""
    values, rows = numbers(got, "the prediction"), source.rows("test")
    for part, name in (("train", "training"), ("val", "validation")):
        other = values.shape == (len(source.rows(part)),) != (len(rows),)
        expect(not other, f"These are as many as the {name} patches; predict those of the test split.")
    expect_shape(values, (len(rows),), "The prediction, one class for each test patch,")
    legend = "A prediction is a class from 0 to 7. A *label* of 255 is missing: train without it."
    expect(np.isin(values, range(NUM_CLASSES)).all(), legend)
    expect(len(np.unique(values)) > 1, "All patches got the same class: is the input the same for all?")
    truth = source.majority(rows)
    right = (values == truth)[truth != IGNORE].mean()
    expect(right < 0.995, f"{right:.1%} are right, which is too good: did a test label reach the training?")


@exercise("label fractions", "Now both sides, all fractions and seeds.")
def check_tuned(tuned: Callable[[Any, float, int], Any], source: Any) -> None:
    """Counts and places of one model, trained from scratch on all labels."""
    got = tuned({"init": "scratch"}, 1.0, 0)
    expect(isinstance(got, tuple | list) and len(got) == 2, "Return two things: counts and places.")
    counts, places = numbers(got[0], "counts"), np.asarray(got[1])
    shape = (len(places), NUM_CLASSES, NUM_CLASSES)
    expect_shape(counts, shape, "The counts, a confusion matrix for each test patch,")
    expect(len(places) <= len(source.rows("test")), "More places than test patches: was it another split?")
    expect((counts >= 0).all() and counts.any(), "Counts are numbers of tiles: 0 or more, and not all 0.")
    expect(len(np.unique(places)) > 1, "All test patches lie in one place; an interval needs several.")


@exercise("the interval", "Paired, and over places: what both found hard has cancelled.")
def check_headline(headline: Callable) -> None:
    """Value and interval of a paired difference over places, on two imagined models."""
    first, second, places = two_models()
    value, low, high = three(headline(first, second, places))
    wanted = paired_difference(first, second, places, average_accuracy)
    mistakes = {"take the first minus the second": -wanted.value}
    mistakes["these are points; return a share"] = 100 * wanted.value
    expect_close(value, wanted.value, "The difference of the average accuracies", mistakes=mistakes)
    expect(low < value < high, "Value, lower end, upper end: the difference lies inside its interval.")
    ratio = (high - low) / (wanted.high - wanted.low)
    wide = f"The interval is {ratio:.1f} times as wide as it should be"
    expect(ratio > 0.8, f"{wide}: patches of one place are no news to each other. Draw whole places.")
    expect(ratio < 1.25, f"{wide}: draw the *same* places for both models, and subtract within each draw.")


def three(found: Any) -> tuple[float, ...]:
    """Difference, lower and upper end as plain numbers, whether they come as an interval or as three numbers."""
    found = (found.value, found.low, found.high) if isinstance(found, Interval) else found
    values = numbers(found, "The difference with its interval")
    expect(values.shape == (3,), "Return three numbers: the difference, its lower and its upper end.")
    return tuple(values.tolist())


def two_models() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts (2, 240, 8, 8) of two imagined models on 240 patches in 30 places, and the places (240,).

    Places differ more than models do: the first is far better in some places, and like the second in the others.
    """
    rng = np.random.default_rng(0)
    places, truth = np.repeat(np.arange(30), 8), np.arange(240) % 4
    easy, gained = rng.uniform(0.1, 0.9, 30)[places], 0.8 * (rng.random(30) < 0.3)[places]
    second = rng.random(240) < easy
    first = second | (rng.random(240) < gained)
    guesses = (np.where(right, truth, (truth + 1) % 4) for right in (first, second))
    one, other = (np.stack(2 * [confusion_counts(truth, guess)]) for guess in guesses)
    return one, other, places


@exercise("what you hand in", "Now give it to somebody who was not there, and see what they ask.")
def check_report(report: Callable[[], Any], gap: Any) -> None:
    """A report with its parts and the numbers that were computed, or the path of a map."""
    got = report()
    if isinstance(got, Path) or str(got).endswith(".tif"):
        return _expect_map(Path(got))
    expect(isinstance(got, str), "Return the text of a report, or the path of a map.")
    words, text = len(got.split()), got.lower().replace("−", "-")
    expect(words >= LEAST_WORDS, f"{words} words; a reader who was not there needs {LEAST_WORDS} or more.")
    _expect_all(PARTS, [part for part in PARTS if part in text], "in the text")
    computed = [f"{abs(100 * x):.1f}" for x in three(gap)]
    _expect_all(computed, [x for x in computed if x in text], "in the text, but computed (in points)")
    sure = ", ".join(word for word in TOO_SURE if re.search(rf"\b{word}\b", text))  # "improves" is no proof
    return expect(not sure, f"'{sure}' says more than an interval can. Say what was measured, and where.")


def _expect_map(path: Path) -> None:
    """Fail unless this is a map of classes in a projected reference system."""
    expect(path.is_file(), f"{path} is not there; mapping.map_scene writes it.")
    with rasterio.open(path) as image:
        expect(image.count == 1, f"{path.name} has {image.count} bands; the map has one, of classes.")
        placed = image.crs is not None and image.crs.is_projected
        expect(placed, f"{path.name} does not say in metres where it lies.")
        codes = np.unique(image.read(1))
    legend = np.isin(codes, [*range(NUM_CLASSES), IGNORE]).all()
    expect(legend, f"{path.name} holds {codes[:9]}, which are no classes.")
