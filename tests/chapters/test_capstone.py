"""The capstone: solved it runs from top to bottom; its checks know right answers in any type, and usual mistakes."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import papermill
import pytest
import torch

from chapters import capstone
from eo_ssl.course import notebooks, student
from eo_ssl.course.checks import ExerciseFailed
from eo_ssl.evaluate.intervals import hierarchical_interval, paired_difference
from eo_ssl.evaluate.metrics import average_accuracy
from eo_ssl.sensors import CLASS_NAMES

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "capstone.ipynb"
CLASSES = np.array([0, 1, 2, 3, 4, 5, 6, 7, 255, 0] * 3)
ROWS = dict(zip(capstone.SPLITS, np.split(np.arange(30), [10, 18])))


def rows(part):
    return ROWS[part]


def source(regions="abc"):
    catalog = pd.DataFrame({"region": np.repeat(list(regions), [10, 8, 12]), "scene": np.arange(30) // 2})
    return SimpleNamespace(rows=rows, majority=lambda rows: CLASSES[rows], catalog=catalog)


def look(data, share=False, regions=1):
    table = {}
    for part, members in ROWS.items():
        counts = capstone.class_counts(data, members)
        counts = counts / counts.sum() if share else counts
        table[part] = {"patches": len(members), "regions": regions, **dict(zip(CLASS_NAMES, counts))}
    return table


PLAN = {"question": "Is it?", "first": "a", "second": "b", "points": 5, "because": "so"}
GAP = (0.0123, -0.004, 0.031)
REPORT = f"Question Data Result Limits: +1.2 points (−0.4 to +3.1). {'word ' * 100}"


def by_course(*of):
    return capstone.three(paired_difference(*of, average_accuracy))


def alone(first, second, places):
    gap = paired_difference(first, second, np.arange(len(places)), average_accuracy)
    return gap.value, gap.low, gap.high


def apart(first, second, places):
    a, b = (hierarchical_interval(one, places, average_accuracy) for one in (first, second))
    return a.value - b.value, a.low - b.high, a.high - b.low


@pytest.mark.parametrize(
    ("check", "answer", "given"),
    [
        (capstone.check_plan, lambda: PLAN | {"points": np.float32(-3)}, ()),
        (capstone.check_plan, lambda: PLAN | {"points": 0}, ()),  # to expect no difference is an expectation
        (capstone.check_look, look, (source(),)),
        (capstone.check_look, lambda data: pd.DataFrame(look(data)).T, (source(),)),
        (capstone.check_baseline, lambda data: [int(c) % 8 for c in CLASSES[18:]][::-1], (source(),)),
        (capstone.check_headline, lambda *of: paired_difference(*of, average_accuracy), ()),
        (capstone.check_headline, lambda *of: [torch.tensor(x) for x in by_course(*of)], ()),
        (capstone.check_report, lambda: REPORT, (GAP,)),
        (capstone.check_report, lambda: f"{REPORT} It improves.", (GAP,)),
    ],
)
def test_a_right_answer_passes(check, answer, given):
    assert "Correct" in repr(check(answer, *given))


@pytest.mark.parametrize(
    ("check", "answer", "given", "said"),
    [
        (capstone.check_plan, lambda: None, (), "nothing is there yet"),
        (capstone.check_plan, lambda: PLAN | {"because": ""}, (), "Not said yet: because"),
        (capstone.check_plan, lambda: PLAN | {"points": 0.05}, (), "percentage points"),
        (capstone.check_look, lambda data: look(data, share=True), (source(),), "this is a share"),
        (capstone.check_look, look, (source("aba"),), "Regions on two sides: a"),
        (capstone.check_look, lambda data: look(data, regions=5), (source(),), "scenes"),
        (capstone.check_look, look(source()), (source(),), "Write check_look\\(look, source\\)"),
        (capstone.check_look, look, (), "2 things are asked for, not 1"),
        (capstone.check_baseline, lambda data: CLASSES[:10], (source(),), "as many as the training"),
        (capstone.check_baseline, lambda data: CLASSES[18:], (source(),), "255 is missing"),
        (capstone.check_baseline, lambda data: CLASSES[18:] % 255, (source(),), "too good"),
        (capstone.check_baseline, lambda data: np.zeros(12), (source(),), "same class"),
        (capstone.check_headline, lambda *of: by_course(*of)[:2], (), "three numbers"),
        (capstone.check_headline, alone, (), "Draw whole places"),
        (capstone.check_headline, apart, (), "the \\*same\\* places"),
        (capstone.check_report, lambda: REPORT.replace("+1.2", "some"), (GAP,), "computed.*1.2"),
        (capstone.check_report, lambda: f"{REPORT} This proves it.", (GAP,), "says more than an interval"),
        (capstone.check_report, lambda: "nowhere/map.tif", (GAP,), "is not there"),
    ],
)
def test_a_usual_mistake_is_told_what_it_is(check, answer, given, said):
    with pytest.raises(ExerciseFailed, match=said):
        check(answer, *given)


def test_it_has_the_form_of_the_chapters_and_six_milestones_whose_points_stand_in_the_rubric(tmp_path):
    copy = shutil.copy(NOTEBOOK, tmp_path)
    notebooks.normalise(copy)
    assert Path(copy).read_text("utf-8") == NOTEBOOK.read_text("utf-8")
    text = "\n".join(c.source for c in notebooks.read(NOTEBOOK).cells if c.cell_type == "markdown")
    named = [one["milestone"] for one in capstone.milestones()]
    assert len(named) == 6 and all(f"## {name}" in text for name in named)


@pytest.mark.course
def test_solved_it_runs_from_top_to_bottom_and_the_students_copy_holds_no_solution(tmp_path):
    settings = {"profile": "smoke", "run_dir": str(tmp_path / "run")}
    out, folder = str(tmp_path / "out.ipynb"), str(NOTEBOOK.parent)
    papermill.execute_notebook(
        str(NOTEBOOK), out, settings, cwd=folder, progress_bar=False, kernel_name="python3"
    )
    assert (tmp_path / "run" / "capstone" / "report.md").stat().st_size > 400
    student.student_edition(NOTEBOOK.parent, tmp_path / "student")
    cells = [c for c in notebooks.read(tmp_path / "student" / NOTEBOOK.name).cells if c.cell_type == "code"]
    assert not any(student.BEGIN in cell.source for cell in cells)
    checks = [cell for cell in cells if "capstone.check_" in cell.source]
    assert len(checks) == 7 and all(student.GO_ON in notebooks.tags(cell) for cell in checks)
