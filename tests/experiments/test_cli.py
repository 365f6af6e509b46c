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
        (["finetune", "--data", "nowhere", "--init", "nowhere"], "no checkpoint"),
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
