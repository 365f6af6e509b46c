"""Load or train: what the chapters share."""

from types import SimpleNamespace

import pandas as pd

from eo_ssl.course import recipes


def test_memory_is_given_back_where_the_system_can_and_nothing_fails_where_it_cannot(monkeypatch, tmp_path):
    monkeypatch.setattr("ctypes.CDLL", int)  # refuses None, as on Windows
    nothing = SimpleNamespace(pretrainings=(), cells=())
    monkeypatch.setattr("eo_ssl.experiments.plan.make_grid", lambda *_: nothing)
    monkeypatch.setattr("eo_ssl.experiments.grid.run_grid", lambda *_, **__: pd.DataFrame({"key": []}))
    let_go = []
    store = SimpleNamespace(unmap=lambda: let_go.append(True))
    about = {"profile": SimpleNamespace(name="smoke"), "data_root": tmp_path, "is_evidence": False}
    assert recipes.compared(SimpleNamespace(**about, root=tmp_path, source=lambda: store)).empty
    assert let_go == [True]
