"""The grid on toy data: rates chosen alike, results complete, workers and clusters share the work."""

import json
from pathlib import Path

import numpy as np
import pytest

from eo_ssl.errors import CheckpointError, ConfigError
from eo_ssl.evaluate import grids
from eo_ssl.evaluate.grid import Cell, results_path
from eo_ssl.evaluate.grids import PLANS, make_grid
from eo_ssl.evaluate.job import CellRunner, GridJob, data_stamp
from eo_ssl.evaluate.label_fractions import run_grid
from eo_ssl.evaluate.methods import METHODS, get_method
from eo_ssl.evaluate.results import read_lines


@pytest.mark.parametrize("profile", PLANS)
def test_every_grid_is_consistent(profile):
    grid = make_grid(profile)
    cells = {cell.key: cell for cell in grid.cells}
    for cell in grid.cells:
        assert cell.method in METHODS
        for need in cell.needs:  # what is needed comes first, and is saved where its model is used
            assert list(cells).index(need) < list(cells).index(cell.key) and cells[need].keep
        if cell.rate is None and not get_method(cell.method).members:
            assert len(cell.needs) == len(PLANS[profile].rates)  # every method tries the same rates


def test_all_methods_of_a_task_get_the_same_budget(tmp_path):
    job = GridJob("laptop", "data", str(tmp_path))
    plain = [job.config(Cell("single", m, 1.0, 0), 1e-3) for m in ("s1", "s2", "early", "late")]
    budgets = {(c.updates, c.batch_size, c.evaluations, c.augment, c.balanced, c.weight_decay) for c in plain}
    assert len(budgets) == 1


def test_headline_methods_have_three_seeds_from_laptop_upward():
    for profile in ("laptop", "gpu", "paper"):
        seeds = {
            c.seed for c in make_grid(profile).cells if c.method == "dual-finetune" and c.fraction == 0.1
        }
        assert len(seeds) >= 3


def test_a_grid_part_can_be_run_alone_and_an_unknown_one_names_the_nearest():
    parts = {c.task for c in make_grid("smoke", ("segmentation",)).cells}
    assert parts == {"segment"}
    with pytest.raises(ConfigError, match="did you mean fusion"):
        make_grid("smoke", ("fusio",))


def test_missing_pretraining_names_the_command(tmp_path):
    with pytest.raises(CheckpointError, match="eo-ssl pretrain dual-simclr --preset smoke"):
        GridJob("smoke", "data", str(tmp_path)).grid()


def test_the_stamp_changes_with_the_data_and_the_checkpoint(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    job, cell = GridJob("smoke", str(data), str(tmp_path)), Cell("single", "dual-frozen", 1.0, 0)
    folder = tmp_path / "pretrain" / "dual-simclr-resnet_nano-seed0"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    stamps = set()
    for version in ("1", "2"):
        for weights in (b"a", b"b"):
            (data / "dataset.json").write_text(json.dumps({"version": version}))
            (folder / "model.safetensors").write_bytes(weights)
            stamps.add(job.stamp(cell))
    assert len(stamps) == 4


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    from eo_ssl.simulate import simulate

    return simulate(tmp_path_factory.mktemp("data") / "set", "smoke", seed=0, workers=1)


@pytest.fixture
def one_part(monkeypatch):
    """A grid of few cells: two methods from scratch and an ensemble of segmentation."""
    parts = {
        "fusion": (
            grids.Sweep("single", ("s1", "late"), (0.5, 1.0)),
            grids.Sweep("multi", ("late",)),
        ),
    }
    plan = PLANS["smoke"]
    monkeypatch.setitem(
        grids.PLANS, "smoke", grids.Plan(**{**vars(plan), "parts": parts, "rates": (1e-3, 1e-2)})
    )


def test_a_grid_runs_resumes_and_tests_each_model_once(simulated, tmp_path, one_part):
    job = GridJob("smoke", str(simulated), str(tmp_path), accelerator="cpu")
    table = run_grid(job, workers=1, progress=False)
    assert len(table) == len(make_grid("smoke").cells) == 9
    final = table[~table["tuning"]]
    assert len(final) == 5 and (final["test_reads"] == 1).all() and final["test.aa"].notna().sum() == 4
    assert table[table["tuning"]]["test_reads"].isna().all()  # choosing a rate never opens the test set
    for _, line in final.iterrows():  # the rate with the best validation score, of those all methods try
        assert set(line["rates"]) == {"0.001", "0.01"}
        assert line["lr"] == float(max(line["rates"], key=line["rates"].get))
    before = results_path(tmp_path).read_bytes()
    run_grid(job, workers=1, progress=False)
    assert results_path(tmp_path).read_bytes() == before


def test_the_model_with_the_chosen_rate_is_tested_not_trained_again(simulated, tmp_path, one_part):
    job = GridJob("smoke", str(simulated), str(tmp_path), accelerator="cpu")
    table = run_grid(job, workers=1, progress=False).set_index("key")
    line = table.loc["single late f=1 s=0"]
    tried = table.loc[f"single late f=1 s=0 lr={line['lr']:g}"]
    assert line["history"] == tried["history"]
    kept = sorted(p.name for p in (tmp_path / "models").iterdir())
    assert (
        "single_late_f=1_s=0" in kept and sum(name.startswith("single_late_f=1_s=0_lr") for name in kept) == 1
    )
    with np.load(tmp_path / "counts" / "single_late_f=1_s=0.npz", allow_pickle=False) as file:
        total = file["counts"].sum(0)
    assert total.tolist() == line["test.confusion"]


def test_a_changed_data_set_is_done_again(simulated, tmp_path, one_part, monkeypatch):
    job = GridJob("smoke", str(simulated), str(tmp_path), parts=("fusion",), accelerator="cpu")
    monkeypatch.setattr(
        CellRunner, "_train", lambda self, cell, lines: {"val_score": 0.5, "lr": 1e-3, "seed": 0}
    )
    run_grid(job, workers=1, progress=False)
    lines = len(read_lines(results_path(tmp_path)))
    monkeypatch.setattr("eo_ssl.evaluate.job.data_stamp", lambda data: "other")
    run_grid(job, workers=1, progress=False)
    assert len(read_lines(results_path(tmp_path))) == 2 * lines


def test_submitit_workers_share_the_grid(simulated, tmp_path):
    pytest.importorskip("submitit")
    from eo_ssl.evaluate.cluster import submit_grid

    job = GridJob("smoke", str(simulated), str(tmp_path), parts=("fusion",), accelerator="cpu")
    jobs = submit_grid(job, 2, executor="local", minutes=5)
    for one in jobs:
        one.result()
    lines = read_lines(results_path(tmp_path))
    assert sorted(line["key"] for line in lines) == sorted(
        c.key for c in make_grid("smoke", ("fusion",)).cells
    )


def test_an_unknown_executor_is_refused(tmp_path):
    from eo_ssl.evaluate.cluster import submit_grid

    with pytest.raises(ConfigError, match="slurm"):
        submit_grid(GridJob("smoke", "d", str(tmp_path)), 1, executor="pbs")


def test_a_data_set_without_a_card_is_known_by_its_name(tmp_path):
    assert data_stamp(str(Path(tmp_path) / "SEN12MS")) == "SEN12MS"
