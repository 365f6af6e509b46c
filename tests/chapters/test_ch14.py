"""Chapter 14: memory is counted, two readers and two processes agree, the checks know usual mistakes."""

from types import SimpleNamespace

import forked
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from chapters import ch14
from eo_ssl.course.checks import ExerciseFailed
from eo_ssl.data.dataset import PatchDataset, open_source
from eo_ssl.losses import nt_xent
from eo_ssl.train.config import preset

CPU, MILLION, SMOKE = torch.device("cpu"), 10**6, preset("dual-simclr", "smoke")
NOISE = torch.randn(8, 15, 32, 32, generator=torch.Generator().manual_seed(1))
VIEWS = {"s1": NOISE[:, :2], "s2": NOISE[:, 2:]}


def plan(pairs, epochs, pairs_per_s, gpus, kept, watts, price):
    hours = pairs * epochs / (pairs_per_s * gpus * kept ** np.log2(gpus)) / 3600
    return hours, gpus * watts / 1000 * hours, gpus * price * hours


def ranked(z1, z2, rank, world, tau, keys=lambda z: z, start=None, reduction="mean"):
    rows = torch.arange(len(z1)).chunk(world)[rank]
    own = rows if start is None else rows - rows[0] + start
    return F.cross_entropy(z1[rows] @ keys(z2).T / tau, own, reduction=reduction)


def test_the_peak_counts_what_is_held_at_once_and_not_what_was_let_go():
    let_go = lambda: [len(torch.zeros(MILLION)) for _ in range(5)]  # noqa: E731
    kept = lambda: [torch.zeros(MILLION) for _ in range(5)]  # noqa: E731
    assert [round(ch14.peak(work, CPU) / MILLION) for work in (let_go, kept)] == [4, 20]


def test_both_readers_give_the_same_patches(simulated, tmp_path):
    run = SimpleNamespace(data_root=simulated, source=lambda: open_source(simulated, packed=False))
    read = ch14.readers(run, tmp_path, most=6)
    first, second = (PatchDataset(*at, 32, "centre").__getitems__(range(6)) for at in read.values())
    assert torch.equal(first["s2"], second["s2"]) and (first["s1"] - second["s1"]).abs().max() < 0.003
    files, store = (ch14.megabytes(*at, simulated) for at in read.values())
    assert 0 < files < 1 and store == 15 * 2 * 64**2 / MILLION


def test_two_processes_have_the_gradient_of_one(monkeypatch):
    monkeypatch.setattr("eo_ssl.parallel.get_context", lambda _: forked.CONTEXT)  # there at once
    (found, seconds), alone = ch14.processes(VIEWS, "smoke", 3, turns=1), ch14.still(SMOKE, 3)
    nt_xent(*alone(VIEWS), temperature=0.1).backward()
    torch.testing.assert_close(found, ch14.gradient(alone), rtol=1e-3, atol=1e-5)
    assert seconds > 0


MISTAKES = [
    (ch14.check_rank_loss, "key rank", lambda *a: ranked(*a, start=0)),
    (ch14.check_rank_loss, "all N anchors", lambda a, b, r, w, tau: ranked(a, b, 0, 1, tau)),
    (ch14.check_rank_loss, "mean over the anchors", lambda *a: ranked(*a, reduction="sum")),
    (ch14.check_rank_loss, "rank is not used", lambda a, b, r, w, tau: ranked(a, b, 0, w, tau)),
    (ch14.check_rank_loss, "by the temperature", lambda a, b, r, w, tau: ranked(a, b, r, w, 1 / tau)),
    (ch14.check_rank_loss, "radar asks: the anchors", lambda a, b, r, w, tau: ranked(b, a, r, w, tau)),
    (ch14.check_rank_loss, "Return one number", lambda *a: ranked(*a, reduction="none")),
    (ch14.check_rank_loss, "keys have lost their gradient", lambda *a: ranked(*a, keys=torch.detach)),
    (ch14.check_rank_loss, "No gradient flows", lambda *a: ranked(*a).item()),
    (ch14.check_plan, "not eight times as fast", lambda **a: plan(**a | {"kept": 1})),
    (ch14.check_plan, "not for each GPU", lambda **a: plan(**a | {"pairs_per_s": 1000 * 0.9**5})),
    (ch14.check_plan, "an hour has 3600", lambda **a: np.array(plan(**a)) * 3600),
    (ch14.check_plan, "three numbers", lambda **a: plan(**a)[:2]),
]


@pytest.mark.parametrize(("check", "message", "answer"), MISTAKES)
def test_usual_mistakes_are_named(check, message, answer):
    with pytest.raises(ExerciseFailed, match=message):
        check(answer)


def test_right_answers_pass():
    ch14.check_rank_loss(ranked)
    ch14.check_plan(plan)


@pytest.mark.browser
def test_the_explorer_computes_the_plan_of_the_exercise(opened):
    page = opened(ch14.plan_explorer(36e6, 1000, 0.9, 500, 2.0))
    said, before = page.get_by_role("status"), page.locator("svg").inner_html()
    hours, energy, cost = plan(36e6, 1, 1000, 8, 0.9, 500, 2)
    for part in ("8 GPUs", f"{hours:.1f} hours", f"{energy:.1f} kWh", f"{cost:.0f} €", "73%"):
        assert part in said.inner_text()
    page.get_by_label("number of GPUs").fill("0")
    assert "1 GPU: 10 hours" in said.inner_text() and page.locator("svg").inner_html() != before
