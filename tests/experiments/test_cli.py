"""The command line: lists, trains, prints, and says in one line what is wrong."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from eo_ssl.cli import app
from eo_ssl.errors import EOError

run = CliRunner().invoke


def test_a_dry_run_lists_the_models_without_data_or_training_and_the_table_says_there_are_none(tmp_path):
    found = run(
        app, ["evaluate", "label-fractions", "--data", "nowhere", "--run-dir", str(tmp_path), "--dry-run"]
    )
    assert found.exit_code == 0 and "single dual-finetune f=0.1 s=2" in found.stdout
    assert not list(tmp_path.iterdir())
    assert "no results" in run(app, ["evaluate", "table", str(tmp_path)]).stdout


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["finetune", "--data", "nowhere", "--model", "lat"], "did you mean late"),
        (["finetune", "--data", "nowhere", "--set", "updtes=3"], "did you mean updates"),
        (["finetune", "--data", "nowhere", "--init", "nowhere"], "train or fetch it"),
        (["evaluate", "label-fractions", "--data", "d", "--run-dir", "r", "--profile", "laptp"], "laptop"),
    ],
)
def test_what_does_not_fit_is_an_error_with_the_fix(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = run(app, arguments)
    assert isinstance(found.exception, EOError) and words in str(found.exception)


def test_help_does_not_wait_for_torch():
    code = "import sys; import eo_ssl.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent).returncode == 0


def test_models_trained_one_by_one_stand_in_the_table_each_for_itself(simulated, tmp_path):
    small = ["updates=1", "evaluations=1", "batch_size=2", "image_size=32", "val_tiles=1", "test_tiles=1"]
    options = [part for one in small for part in ("--set", one)]
    command = ["finetune", "--data", str(simulated), "--run-dir", str(tmp_path), "--no-keep", *options]
    late, frozen = ["--set", "backbone=resnet_nano"], ["--mode", "frozen", "--init", "untrained"]
    for more in (late, [*late, *frozen], ["--model", "bands", *frozen]):
        done = run(app, [*command, *more])
        assert done.exit_code == 0, done.output
    table = run(app, ["evaluate", "table", str(tmp_path)])
    assert table.exit_code == 0, table.exception
    rows = ("late finetune scratch", "late frozen untrained", "bands frozen untrained")
    assert all(f"{name} " in table.output for name in rows)


def test_the_grid_is_trained_from_a_shell_on_data_by_name_and_goes_on(simulated, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("eo_ssl.data.fetch.root_of", lambda name: {"ben-ge-800": simulated}[name])
    data = ["--data", "ben-ge-800", "--run-dir", "~/here", "--profile", "smoke"]
    command = ["evaluate", "label-fractions", *data, "--part", "fusion", "--workers", "1"]
    first = run(app, command)
    assert first.exit_code == 0, first.exception
    assert "late" in first.output and "multi" in first.output
    written = (tmp_path / "here" / "results.jsonl").read_bytes()
    again = run(app, command)
    assert again.output == first.output and (tmp_path / "here" / "results.jsonl").read_bytes() == written
