"""The student edition: the same notebooks, with every solution replaced by a stub.

A solution stands in a code cell tagged `exercise`, between `### BEGIN SOLUTION` and `### END SOLUTION`.
The stub is made from it, so that the two cannot drift apart.
"""

import hashlib
import re
from pathlib import Path

import nbformat

from eo_ssl.course import notebooks
from eo_ssl.errors import DataError
from eo_ssl.files import atomic_path, read_json, sha256, write_json

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
STUB = 'raise NotImplementedError("your turn")  # replace this line'
CHECK = re.compile(r"^\s*ch\d\d\.check_\w+\(", re.MULTILINE)
# Lets "run all cells" go on past an exercise that is not solved yet.
GO_ON = "raises-exception"
WRITTEN = ".edition.json"  # SHA-256 of each file as it was written


def stub(source: str, where: str = "cell") -> str:
    """Replace what stands between the markers by one line that says it is the reader's turn.

    >>> print(stub("def f(x):\\n    ### BEGIN SOLUTION\\n    return x + 1\\n    ### END SOLUTION"))
    def f(x):
        raise NotImplementedError("your turn")  # replace this line
    """
    lines: list[str] = []
    inside, solutions = False, 0
    for line in source.splitlines():
        text = line.strip()
        if text == BEGIN:
            if inside:
                raise DataError(f"{where}: {BEGIN} stands twice without {END}")
            lines.append(line[: len(line) - len(line.lstrip())] + STUB)
            inside, solutions = True, solutions + 1
        elif text == END:
            if not inside:
                raise DataError(f"{where}: {END} without {BEGIN}")
            inside = False
        elif not inside:
            lines.append(line)
    if inside or not solutions:
        raise DataError(f"{where}: a cell tagged exercise needs {BEGIN} and {END} on lines of their own")
    return "\n".join(lines)


def without_markers(source: str) -> str:
    """A solution cell as the book shows it: the two marker lines are left out.

    >>> without_markers("a = 1\\n### BEGIN SOLUTION\\nb = 2\\n### END SOLUTION")
    'a = 1\\nb = 2'
    """
    return "\n".join(line for line in source.splitlines() if line.strip() not in (BEGIN, END))


def make_student(notebook: nbformat.NotebookNode, name: str) -> nbformat.NotebookNode:
    """A copy of a notebook with stubs in place of the solutions."""
    copy = nbformat.from_dict(notebook)
    for index, cell in enumerate(copy.cells):
        if cell.cell_type != "code":
            continue
        if "exercise" in notebooks.tags(cell):
            cell.source = stub(cell.source, f"{name}, cell {index}")
            kept = [t for t in notebooks.tags(cell) if t != "hide-input"]
            cell.metadata = {"tags": [*kept, GO_ON]}
        elif CHECK.search(cell.source):
            cell.metadata["tags"] = [*notebooks.tags(cell), GO_ON]
        if BEGIN in cell.source or END in cell.source:
            raise DataError(f"{name}, cell {index}: holds a solution but is not tagged exercise")
    return copy


def student_edition(folder: Path, out: Path) -> list[Path]:
    """Write the student edition of `folder` to `out`, with the modules and images that its notebooks need.

    A learner's work is never overwritten: a file that differs from what this function wrote there before is kept,
    and the new one written beside it as `NAME.new.ipynb`. Returns the paths of the notebooks.
    """
    files = {
        path.relative_to(folder): path.read_bytes()
        for part in ("chapters", "images")
        for path in sorted((folder / part).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    for path in notebooks.sources(folder):
        text = nbformat.writes(make_student(notebooks.read(path), path.name), indent=1) + "\n"
        files[path.relative_to(folder)] = text.encode()
    record = out / WRITTEN
    before = read_json(record) if record.is_file() else {}
    written = {}
    for name, content in files.items():
        target = out / name
        if target.exists() and sha256(target) not in (before.get(str(name)), _sha256(content)):
            target = target.with_name(f"{name.stem}.new{name.suffix}")
        else:
            before[str(name)] = _sha256(content)
        with atomic_path(target) as temporary:
            temporary.write_bytes(content)
        written[name] = target
    write_json(record, before)
    return [target for name, target in written.items() if name.suffix == ".ipynb"]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
