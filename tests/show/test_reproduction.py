"""Chapter 11: published beside measured, and the rival of each column is its own."""

import numpy as np
import pandas as pd
import pytest

from eo_ssl.experiments.results import read_results
from eo_ssl.show import reproduction


@pytest.fixture
def run(tmp_path, write_model):
    for method, right, fraction in (
        ("early", 6, 1.0),
        ("late", 5, 1.0),
        ("dual-finetune", 9, 1.0),
        ("dual-finetune", 8, 0.1),
    ):
        write_model(method, right, fraction)
    for method, right in (("swinunet-scratch", 5), ("swinunet-finetune", 4)):
        write_model(method, right, task="segment")
    return read_results(tmp_path / "results.jsonl"), tmp_path


def test_differences_are_taken_to_the_best_supervised_model_of_the_same_column(run):
    results, folder = run
    paper, task, supervised, _ = reproduction.COLUMNS[0]
    rows = reproduction.column_differences(results, folder, paper, task, supervised).set_index("method")
    assert rows.loc["dual-finetune", "published"] == pytest.approx(0.70 - 0.62)
    assert rows.loc["dual-finetune", "here"] == pytest.approx(0.9 - 0.6)  # early is the better one here
    assert np.isnan(rows.loc["mma-finetune", "here"]) and not set(rows.index) & set(supervised)
    paper, task, supervised, _ = reproduction.COLUMNS[2]
    swin = reproduction.column_differences(results, folder, paper, task, supervised).set_index("method")
    assert swin.loc["dual-finetune", "here"] == pytest.approx(
        0.9 - 0.5
    )  # early is no rival in the second paper
    assert swin.loc["swin-frozen", "published"] == pytest.approx(0.572 - 0.436)


def test_the_figure_of_differences_says_both_numbers_and_what_was_not_run(run):
    alt = reproduction.differences(*run).eo_alt
    assert (
        "Dual-SimCLR, fine-tuned published +8, here +30" in alt
        and "MMA, fine-tuned published +7, here not run" in alt
    )
    assert "SwinUNet, fine-tuned published +9, here -10" in alt


def test_curves_have_an_axis_of_their_own_and_say_what_was_not_run(run):
    fig = reproduction.curves_beside(*run)
    assert len(fig.axes) == 6 and fig.axes[0].get_ylim() != fig.axes[1].get_ylim()
    assert "Dual-SimCLR, fine-tuned 36 at 1%, 65 at 10%" in fig.eo_alt
    assert (
        "this run: one label, fusion paper: Early fusion 60 at 100%" in fig.eo_alt
        and "MMA, fine-tuned not run" in fig.eo_alt
    )


def test_figures_of_a_run_with_nothing_in_it_can_be_made(tmp_path):
    assert "here not run" in reproduction.differences(pd.DataFrame(), tmp_path).eo_alt
    assert "not run" in reproduction.curves_beside(pd.DataFrame(), tmp_path).eo_alt
