"""The plans: grids that are consistent, budgets and searches that are the same for all methods of a task."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eo_ssl.errors import ConfigError
from eo_ssl.experiments.grid import GridJob
from eo_ssl.experiments.plan import METHODS, PLANS, Cell, get_method, make_grid, worth_trying
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
        if cell.rate is None and not get_method(cell.method).members:  # every method may try the same rates
            rates, by = PLANS[profile].rates, get_profile(profile).finetune_seeds[: PLANS[profile].tried_by]
            assert len(cell.needs) == (len(rates) * len(by) if len(rates) > 1 else 0)
        if cell.chosen:  # among those that tried a rate is this very model
            assert any(
                cells[n].keep and (cells[n].method, cells[n].seed) == (cell.method, cell.seed)
                for n in cell.needs
            )
    seeds = {c.seed for c in grid.cells if c.method == "dual-finetune" and c.fraction == 0.1}
    assert len(seeds) >= 3 or profile.startswith(("smoke", "paper-rehearsal"))


@pytest.mark.parametrize("method", ["late", "dual-frozen"])
@given(scores=st.lists(st.floats(0, 1), min_size=7, max_size=7, unique=True), random=st.randoms())
def test_the_search_climbs_until_the_score_falls_and_all_seeds_try_the_two_best(method, scores, random):
    cells = [c for c in make_grid("laptop", ("few-labels",)).cells if c.method == method and c.rate]
    lines, rates, head = {}, sorted({cell.rate for cell in cells}), get_method(method).is_head("single")
    assert len(rates) == len(scores)
    for cell in cells:
        needed = [lines[need] for need in cell.needs if need in lines]
        if worth_trying(cell, needed):
            score = random.random() if cell.seed and not head else scores[rates.index(cell.rate)]
            lines[cell.key] = {"lr": cell.rate, "seed": cell.seed, "val_score": score}
    tried = [{rates.index(line["lr"]) for line in lines.values() if line["seed"] == s} for s in range(3)]
    *_, runner_up, best = sorted(tried[0], key=scores.__getitem__)
    low, high = min(tried[0]), max(tried[0])
    assert tried[0] == set(range(low, high + 1)) and {2, 3} <= tried[0] and high - low >= 2
    assert (low < best or low == 0) and (best < high or high == 6)  # on both sides of the best one was worse
    assert tried[1] == tried[2] == (tried[0] if head else {best, runner_up})


def test_all_methods_of_a_task_get_the_same_budget(tmp_path):
    job = GridJob("laptop", "data", str(tmp_path))
    plain = [job.config(Cell("single", m, 1.0, 0), 1e-3) for m in ("s1", "s2", "early", "late")]
    budgets = {(c.updates, c.batch_size, c.evaluations, c.weight_decay) for c in plain}
    assert len(budgets) == 1


def test_a_grid_part_can_be_run_alone_and_an_unknown_one_names_the_nearest():
    assert {cell.task for cell in make_grid("smoke", ("segmentation",)).cells} == {"segment"}
    with pytest.raises(ConfigError, match="did you mean fusion"):
        make_grid("smoke", ("fusio",))


def test_encoders_that_the_user_has_brought_are_frozen_rows(tmp_path, monkeypatch):
    plain, brought = make_grid("laptop", ("segmentation",)), tmp_path / "papers-swin"
    brought.mkdir()
    (brought / "config.json").write_text("{}")
    monkeypatch.setenv("EO_SSL_WEIGHTS", str(tmp_path))
    grid = make_grid("laptop", ("segmentation",))
    new = [cell for cell in grid.cells if cell.method not in {cell.method for cell in plain.cells}]
    assert {cell.method for cell in new} == {"swinunet-papers-frozen"}
    assert grid.pretrainings == plain.pretrainings
    config = GridJob("laptop", "data", str(tmp_path)).config(new[-1], 1e-3)
    network = "peak_swin_tiny_patch4_window7_224"
    assert (config.backbone, config.mode, config.init) == (network, "frozen", str(brought))
