"""The way of the largest profile, walked with tiny networks on data in the layouts of SEN12MS and DFC2020."""

from dataclasses import replace

import pytest

from eo_ssl.course import recipes, setup
from eo_ssl.data import catalog
from eo_ssl.experiments.plan import PLANS, make_grid
from eo_ssl.profiles import PROFILES
from eo_ssl.simulate import world
from eo_ssl.train.checkpoint import read_meta

NAME = "paper-rehearsal"
# What the papers' tables and curves compare, by task.
SINGLE = {"s1", "s2", "early", "late", "simclr-rgb-finetune", "dual-finetune", "mma-finetune"}
FROZEN = {"dual-frozen", "mma-frozen"}
SWIN = {f"{pair}-{how}" for pair in ("swin", "resnet50") for how in ("finetune", "frozen", "scratch")}
KINDS = {"late", "band-stats", "dual-frozen", "dual-finetune"}
SEGMENT = {"unet", "swinunet-scratch", "swinunet-finetune", "swinunet-frozen", "ensemble"}


def test_the_papers_plan_holds_every_table_and_curve_of_both_papers_with_five_seeds():
    cells = [cell for cell in make_grid("paper").cells if cell.rate is None]
    for task, methods in (("single", SINGLE | FROZEN | SWIN), ("segment", SEGMENT), ("multi", SINGLE)):
        done = {(c.method, c.fraction, c.seed) for c in cells if c.task == task and c.method in methods}
        assert done == {(m, f, s) for m in methods for f in (0.01, 0.1, 0.5, 1.0) for s in range(5)}


def test_each_part_of_a_plan_holds_what_its_chapter_compares_at_smoke_and_the_rehearsal_what_paper_does():
    def kinds(profile, *parts):
        return {(c.task, c.method) for c in make_grid(profile, parts).cells}

    assert kinds("paper") == kinds(NAME)
    for part in PLANS["smoke"].parts:
        assert all(kinds("smoke", part) <= kinds(profile, part) for profile in ("gpu", "paper", NAME)), part


def reduced(sweep):
    methods = tuple(name for name in sweep.methods if sweep.task != "multi" or name in KINDS)
    return replace(sweep, methods=methods, fractions=(1.0,))


@pytest.mark.filterwarnings("ignore:epoch .*features collapse:RuntimeWarning")
def test_a_rehearsal_reaches_its_end_from_pretraining_to_results(tmp_path, monkeypatch):
    # One seed, all labels, smaller patches, one method of each kind for the second task: a fraction of the time.
    monkeypatch.setitem(world.PROFILES, "paper", replace(world.PROFILES["paper"], patch=64))
    monkeypatch.setitem(PROFILES, NAME, replace(PROFILES[NAME], pretrain_seeds=(1,), finetune_seeds=(0,)))
    parts = {name: tuple(map(reduced, sweeps)) for name, sweeps in PLANS[NAME].parts.items()}
    monkeypatch.setitem(PLANS, NAME, replace(PLANS[NAME], parts=parts))
    run = setup(NAME, run_dir=str(tmp_path / "run"))
    assert set(catalog.find(run.data_root)["dataset"]) == {"sen12ms", "dfc2020"}
    table = recipes.compared(run, *parts)
    wanted = [cell for cell in make_grid(NAME).cells if cell.rate is None]
    assert set(table["key"]) == {cell.key for cell in wanted} and not run.is_evidence
    assert table["profile"].eq(NAME).all() and table["test_reads"].eq(1).all()
    folders = sorted((run.root / "pretrain").iterdir())
    # The deep network of the rehearsal is that of the shallow one: one checkpoint less.
    assert len(folders) == len(make_grid(NAME).pretrainings) - 1
    for folder in folders:
        meta = read_meta(folder)
        assert {"python", "torch", "timm", "eo_ssl", "commit"} <= set(meta["versions"])
        assert meta["data"].startswith("simulated")
