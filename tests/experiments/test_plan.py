"""The plans: grids that are consistent, budgets that are the same for all methods of a task."""

import pytest

from eo_ssl.errors import ConfigError
from eo_ssl.experiments.grid import GridJob
from eo_ssl.experiments.plan import METHODS, PLANS, Cell, get_method, get_plan, make_grid
from eo_ssl.profiles import get_profile


@pytest.mark.parametrize("profile", PLANS)
def test_every_grid_is_consistent(profile):
    grid = make_grid(profile)
    cells = {cell.key: cell for cell in grid.cells}
    for cell in grid.cells:
        assert cell.method in METHODS
        for need in cell.needs:  # what is needed comes first, and is saved where its model is used
            assert list(cells).index(need) < list(cells).index(cell.key)
            assert cells[need].keep or cells[need].rate
        if cell.rate is None and not get_method(cell.method).members:  # every method tries the same rates
            rates, seeds = PLANS[profile].rates, get_profile(profile).finetune_seeds
            head = get_method(cell.method).is_head("single" if cell.task == "multi" else cell.task)
            by = seeds if head else seeds[: PLANS[profile].tried_by]
            assert len(cell.needs) == (len(rates) * len(by) if len(rates) > 1 else 0)
    seeds = {c.seed for c in grid.cells if c.method == "dual-finetune" and c.fraction == 0.1}
    assert len(seeds) >= 3 or profile.startswith(("smoke", "paper-rehearsal"))


def test_all_methods_of_a_task_get_the_same_budget(tmp_path):
    job = GridJob("laptop", "data", str(tmp_path))
    plain = [job.config(Cell("single", m, 1.0, 0), 1e-3) for m in ("s1", "s2", "early", "late")]
    budgets = {(c.updates, c.batch_size, c.evaluations, c.augment, c.balanced, c.weight_decay) for c in plain}
    assert len(budgets) == 1


def test_a_grid_part_can_be_run_alone_and_an_unknown_one_names_the_nearest():
    parts = {c.task for c in make_grid("smoke", ("segmentation",)).cells}
    assert parts == {"segment"}
    with pytest.raises(ConfigError, match="did you mean fusion"):
        make_grid("smoke", ("fusio",))
    with pytest.raises(ConfigError, match="did you mean laptop"):
        get_plan("laptp")
    with pytest.raises(ConfigError, match="did you mean late"):
        get_method("lat")


def test_a_swin_pair_that_the_user_has_brought_segments_too(tmp_path, monkeypatch):
    plain = {cell.method for cell in make_grid("laptop", ("segmentation",)).cells}
    (tmp_path / "papers-swin").mkdir()
    (tmp_path / "papers-swin" / "config.json").write_text("{}")
    monkeypatch.setenv("EO_SSL_WEIGHTS", str(tmp_path))
    cells = make_grid("laptop", ("segmentation",)).cells
    assert {cell.method for cell in cells} - plain == {"swinunet-papers-frozen"}
    (cell,) = [cell for cell in cells if cell.method not in plain and cell.seed == 0 and cell.rate is None]
    config = GridJob("laptop", "data", str(tmp_path)).config(cell, 1e-3)
    assert (config.model, config.mode, config.init) == ("swin-unet", "frozen", str(tmp_path / "papers-swin"))


def test_encoders_that_the_user_has_brought_are_frozen_rows_beside_the_others(tmp_path, monkeypatch):
    plain = make_grid("laptop")
    (tmp_path / "papers-resnet18").mkdir()
    (tmp_path / "papers-resnet18" / "config.json").write_text("{}")
    (tmp_path / "papers-resnet18" / "model.safetensors").write_bytes(b"weights")
    monkeypatch.setenv("EO_SSL_WEIGHTS", str(tmp_path))
    grid = make_grid("laptop", ("few-labels",))
    new = {cell.method for cell in grid.cells} - {cell.method for cell in plain.cells}
    assert new == {"papers-resnet18-frozen"} and make_grid("laptop").pretrainings == plain.pretrainings
    cell = next(cell for cell in grid.cells if cell.method in new and cell.task == "multi")
    config = GridJob("laptop", "data", str(tmp_path)).config(cell, 1e-3)
    assert (config.backbone, config.mode, config.init) == (
        "peak_resnet18",
        "frozen",
        str(tmp_path / "papers-resnet18"),
    )
