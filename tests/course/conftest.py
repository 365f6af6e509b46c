"""Small notebooks to run: a parameter cell and whatever cells a test needs."""

from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from eo_ssl.course import notebooks

Write = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder for notebooks."""
    made = tmp_path / "notebooks"
    made.mkdir()
    return made


@pytest.fixture
def write(folder: Path) -> Write:
    """`write("00_a", "x = 1", "x")` writes a notebook with a title, the parameter cell and these code cells."""

    def make(stem: str, *code: str, prose: str = "", parameters: str = notebooks.PARAMETERS) -> Path:
        cells = [nbformat.v4.new_markdown_cell(f"# Title of {stem}\n\n{prose}")]
        cells.append(nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}))
        cells += [nbformat.v4.new_code_cell(source) for source in code]
        path = folder / f"{stem}.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
        notebooks.normalise(path)
        return path

    return make


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test touches the user's cache."""
    monkeypatch.setenv("EO_SSL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("EO_SSL_ALLOW_CPU", raising=False)
