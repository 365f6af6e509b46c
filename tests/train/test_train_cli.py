"""`eo-ssl pretrain`: settings reach the run, bad ones end in one line; `eo-ssl finetune` adds a line of results."""

import numpy as np
import pytest
from toy_labels import ToyLabels
from toy_pairs import ToySource
from typer.testing import CliRunner

from eo_ssl.cli import app
from eo_ssl.data import dataset
from eo_ssl.errors import EOError
from eo_ssl.experiments.results import read_lines
from eo_ssl.train.checkpoint import read_meta

SMALL = ["--preset=smoke", "--image-size=16", "--batch-size=16", "--accelerator=cpu"]


@pytest.fixture(autouse=True)
def toy_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "open_source", lambda path: ToySource())


def call(*arguments: str) -> str:
    return CliRunner().invoke(app, [*arguments, "--data=toy"], catch_exceptions=False).stdout


def test_pretrain_writes_a_checkpoint_with_the_settings_of_the_command_line(tmp_path):
    options = ["--epochs=1", "--set=temperature=0.3", "--set=warmup_epochs=0.5", "--seed=4"]
    assert "val_top5" in call("pretrain", "dual-simclr", f"--run-dir={tmp_path}", *SMALL, *options)
    meta = read_meta(tmp_path / "pretrain" / "dual-simclr-resnet_nano-seed4")
    assert (meta["config"]["temperature"], meta["config"]["epochs"], meta["config"]["seed"]) == (0.3, 1, 4)


def test_what_was_left_out_and_how_data_were_split_is_said_once(tmp_path, monkeypatch):
    source = ToySource()
    source.notes, source.left_out = ["tested on Chabarovsk (not the papers' split)"], {"p7": "only clouds"}
    monkeypatch.setattr(dataset, "open_source", lambda path: source)
    shown = call("pretrain", "dual-simclr", f"--run-dir={tmp_path}", *SMALL, "--epochs=2")
    assert shown.count("note: tested on Chabarovsk") == 1
    assert shown.count("1 patches are left out, first p7: only clouds") == 1


def test_data_on_which_training_cannot_start_are_refused_in_one_line(tmp_path, monkeypatch):
    source = ToyLabels()
    source.majority = lambda rows: np.full(len(rows), 255)
    monkeypatch.setattr(dataset, "open_source", lambda path: source)
    for command, said in (
        (["finetune", "--task=multi"], "multi needs at least 1 labelled"),
        (["pretrain", "mma", "--image-size=16", "--set=second_crop=8"], "do not fill one batch"),
    ):
        with pytest.raises(EOError, match=said):
            call(*command, f"--run-dir={tmp_path}")


def test_finetune_writes_one_line_and_prints_it_again(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "open_source", lambda path: ToyLabels())
    small = [f"--set={k}" for k in ("backbone=resnet_nano", "image_size=8", "updates=2", "precision=32")]
    command = ["finetune", f"--run-dir={tmp_path}", "--model=s1", "--accelerator=cpu", *small]
    first, second = (call(*command) for _ in range(2))
    (line,) = read_lines(tmp_path / "results.jsonl")
    assert line["method"] == "s1 finetune scratch" and f"{line['test']['aa']:.4g}" in first == second
    with open(tmp_path / "results.jsonl", "a") as file:
        file.write('{"key": "torn by a ki')
    call(*command, "--seed=1")
    assert len(read_lines(tmp_path / "results.jsonl")) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mma", "--set=temprature=1"], "did you mean temperature"),
        (["mma", "--set=temperature"], "--set takes name=value"),
        (["dual-simclr", *SMALL, "--accelerator=tpu"], "accelerator must be one of"),
    ],
)
def test_bad_input_ends_in_one_line(arguments, message, tmp_path):
    with pytest.raises(EOError, match=message) as error:
        call("pretrain", *arguments, f"--run-dir={tmp_path}")
    assert "\n" not in str(error.value)
