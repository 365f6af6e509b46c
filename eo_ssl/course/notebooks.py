"""Notebook sources: which there are, what form they have, and how to bring one into it."""

import ast
import hashlib
import json
import re
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat
from IPython.core.inputtransformer2 import TransformerManager

from eo_ssl.errors import ConfigError, DataError, nearest
from eo_ssl.files import write_text

KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}
PARAMETERS = """\
profile = "laptop"      # smoke | laptop | gpu | paper
data = "simulated"      # or "ben-ge-800", or a folder
run_dir = ""            # default runs/<profile>
seed = 0"""
PATTERN = re.compile(r"(\d\d|a\d)_\w+\.ipynb")
EFFORT = re.compile(r"^### Exercise .*\n\*(\d+) minutes · (●{1,3})○* · (must|stretch)\*$", re.MULTILINE)


def sources(folder: Path) -> list[Path]:
    """The chapters in reading order, named like `04_simclr.ipynb`, and then appendices (`a1_…`)."""
    return sorted(path for path in folder.glob("*.ipynb") if PATTERN.fullmatch(path.name))


def handed_out(folder: Path) -> list[Path]:
    """The chapters, and the capstone, which no run executes."""
    return [*sources(folder), *folder.glob("capstone.ipynb")]


def select(folder: Path, only: list[str]) -> list[Path]:
    """The chapters named in `only` ("04", "simclr" or "04_simclr"); all when it is empty."""
    found = sources(folder)
    if not found:
        raise DataError(f"{folder}: no notebooks named like 04_simclr.ipynb; run from the project folder")
    names = {path: {path.name, path.stem, path.stem[:2], path.stem[3:]} for path in found}
    for name in only:
        if not any(name in known for known in names.values()):
            raise ConfigError(f"no chapter {name!r}{nearest(name, [path.stem for path in found])}")
    return [path for path in found if not only or names[path] & set(only)]


def read(path: Path) -> nbformat.NotebookNode:
    """Read a notebook; raises `DataError` naming the file when it is not one."""
    try:
        return nbformat.read(path, as_version=4)
    except Exception as error:  # nbformat raises many kinds
        raise DataError(f"{path}: not a readable notebook ({error})") from error


def tags(cell: Any) -> list[str]:
    """The tags of a cell."""
    return list(cell.metadata.get("tags", []))


def syntax(source: str) -> ast.Module:
    """The syntax tree of a cell, its magic (%, !) as IPython reads it; an empty one if it is no Python even so."""
    with suppress(SyntaxError):
        return ast.parse(TransformerManager().transform_cell(source))
    return ast.parse("")


def parameters(notebook: Any) -> dict[str, Any]:
    """Names and defaults in the cell tagged `parameters`, read without executing it."""
    code = next((cell.source for cell in notebook.cells if "parameters" in tags(cell)), "")
    assigned = [node for node in ast.parse(code).body if isinstance(node, ast.Assign)]
    return {ast.unparse(node.targets[0]): ast.literal_eval(node.value) for node in assigned}


def title(notebook: Any) -> str:
    """The first heading of a notebook, without the markup."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    found = re.search(r"^# (.*)", text, re.MULTILINE)
    return found[1].strip() if found else "Untitled"


def text_of(notebook: Any) -> str:
    """A digest of all that a reader sees of a notebook before it runs, prose included."""
    seen = [[cell.cell_type, cell.source, tags(cell)] for cell in notebook.cells]
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()


def effort(text: str) -> dict[str, Any]:
    """What the line under the title of an exercise says of it; nothing if there is no such line.

    >>> effort("### Exercise 1: NDVI\\n*5 minutes · ●○○ · must*")
    {'minutes': 5, 'difficulty': 1, 'kind': 'must'}
    """
    found = EFFORT.search(text)
    return {"minutes": int(found[1]), "difficulty": len(found[2]), "kind": found[3]} if found else {}


def normalise(path: str | Path) -> None:
    """Bring a notebook source into the form kept in the repository.

    No outputs, no counts, no metadata but tags and, at an exercise, what the line under its title says; solutions
    folded in JupyterLab as in the book; kernelspec python3; cell ids made from the content, so that converting the
    same text twice gives the same bytes.
    """
    path = Path(path)
    notebook = read(path)
    seen, text = Counter[str](), ""
    for cell in notebook.cells:
        base = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:10]
        seen[base] += 1
        cell["id"] = base if seen[base] == 1 else f"{base}-{seen[base]}"
        cell.metadata = {"tags": tags(cell)} if tags(cell) else {}
        if "hide-input" in tags(cell):
            cell.metadata["jupyter"] = {"source_hidden": True}
        if "exercise" in tags(cell) and (said := effort(text)):
            cell.metadata["exercise"] = said
        text = cell.source
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebook.metadata = {"kernelspec": KERNELSPEC, "language_info": {"name": "python"}}
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    text = nbformat.writes(nbformat.from_dict(notebook), indent=1, sort_keys=True)
    write_text(path, text.rstrip("\n") + "\n")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        normalise(name)
