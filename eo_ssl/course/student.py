"""The student edition: the same notebooks, with every solution replaced by a stub.

A solution stands in a code cell tagged `exercise`, between `### BEGIN SOLUTION` and `### END SOLUTION`.
The stub is made from it, so that the two cannot drift apart.
"""

import hashlib
import html
import re
from itertools import chain, count
from pathlib import Path

import nbformat

from eo_ssl.course import notebooks
from eo_ssl.errors import DataError
from eo_ssl.files import atomic_path, read_json, sha256, write_json

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
SOLUTION = re.compile(
    rf"^([ \t]*){BEGIN}[ \t]*\n(?:(?!{BEGIN}).)*?^[ \t]*{END}[ \t]*$", re.MULTILINE | re.DOTALL
)
STUB = 'raise NotImplementedError("your turn")  # replace this line'
CHECK = re.compile(r"^\s*(?:display\()?(?:ch\d\d|capstone)\.check_\w+\(", re.MULTILINE)
# JupyterLab shows HTML, not MyST.
HINT = re.compile(r"^:::\{dropdown\} (.*)\n((?:.*\n)*?):::$", re.M)
CITED = re.compile(r"\{cite\}`([^`]+)`")
GO_ON = "raises-exception"  # lets "run all cells" go on past an exercise that is not solved yet
WRITTEN = ".edition.json"  # SHA-256 of each file as it was last written


def stub(source: str, where: str = "cell") -> str:
    """Replace what stands between the markers by one line that says it is the reader's turn.

    >>> print(stub("def f(x):\\n    ### BEGIN SOLUTION\\n    return x + 1\\n    ### END SOLUTION"))
    def f(x):
        raise NotImplementedError("your turn")  # replace this line
    """
    stubbed, solutions = SOLUTION.subn(lambda match: match[1] + STUB, source)
    if not solutions or BEGIN in stubbed or END in stubbed:
        raise DataError(
            f"{where}: a cell tagged exercise needs {BEGIN} and {END} in pairs, on lines of their own"
        )
    return stubbed


def without_markers(source: str) -> str:
    """A solution cell as the book shows it: the two marker lines are left out.

    >>> without_markers("a = 1\\n### BEGIN SOLUTION\\nb = 2\\n### END SOLUTION")
    'a = 1\\nb = 2'
    """
    return "\n".join(line for line in source.splitlines() if line.strip() not in (BEGIN, END))


def works(bibliography: Path) -> dict[str, str]:
    """What stands in brackets for each work of a BibTeX file: its authors and year, its title under the pointer."""
    from pybtex.database import parse_file
    from pybtex.richtext import Text

    def plain(tex: str) -> str:
        return html.escape(str(Text.from_latex(tex)))

    found = {}
    for key, work in parse_file(str(bibliography), "bibtex").entries.items():
        names = [plain(" ".join(p.prelast_names + p.last_names)) for p in work.persons["author"]]
        who = f"{names[0]} et al." if len(names) > 2 or "others" in names else " and ".join(names)
        found[key] = f'<abbr title="{plain(work.fields["title"])}">{who}, {work.fields["year"]}</abbr>'
    return found


def make_student(notebook: nbformat.NotebookNode, name: str, known: dict[str, str]) -> nbformat.NotebookNode:
    """A copy of a notebook with stubs in place of the solutions, and without outputs; it may be such a copy itself.

    Works are cited as they are `known`, by author and year; where one is not, the citation stays as it is.
    """

    def cited(role: re.Match) -> str:
        keys = role[1].split(",")
        return f"({'; '.join(known[key] for key in keys)})" if known.keys() >= set(keys) else role[0]

    copy = nbformat.from_dict(notebook)
    for index, cell in enumerate(copy.cells):
        tags = notebooks.tags(cell)
        cell.source = HINT.sub(r"<details><summary>\1</summary>\n\n\2\n</details>", cell.source)
        cell.source = CITED.sub(cited, cell.source)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        if GO_ON in tags and BEGIN not in cell.source:  # of an edition
            continue
        if "exercise" in tags:
            cell.source = stub(cell.source, f"{name}, cell {index}")
            cell.metadata["tags"] = [*(tag for tag in tags if tag != "hide-input"), GO_ON]
            cell.metadata.pop("jupyter", None)  # not folded
        elif cell.cell_type == "code" and BEGIN in cell.source:
            raise DataError(f"{name}, cell {index}: holds a solution but is not tagged exercise")
        elif cell.cell_type == "code" and CHECK.search(cell.source):
            cell.metadata["tags"] = [*tags, GO_ON]
    return copy


def solutions_of(notebook: nbformat.NotebookNode) -> str:
    """The solved exercises of a notebook as a Python file, each under its title; "" where there are none."""
    parts, title = [], ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            title = "".join(re.findall(r"^### (.*)", cell.source, re.MULTILINE)[-1:])
        elif "exercise" in notebooks.tags(cell):
            parts.append(f"# {title}\n\n{without_markers(cell.source)}\n")
    return "\n\n".join(parts)


def student_edition(folder: Path, out: Path, solutions: bool = False) -> list[Path]:
    """Write the student edition of `folder` to `out`, with the modules and images that its notebooks need.

    With `solutions` they are there, too, out of sight: `solutions/NAME.py`. A learner's work is never overwritten: a file
    that this function has not written so is kept, and a new version is written once, beside it, as `NAME.new.ipynb` (or
    `NAME.new2.ipynb`, where there is work in that one, too). Returns the paths of the notebooks.
    """
    files = {
        path.relative_to(folder): path.read_bytes()
        for part in ("chapters", "images")
        for path in sorted((folder / part).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    bibliography = folder.parent / "book" / "references.bib"
    known = works(bibliography) if bibliography.is_file() else {}
    for path in notebooks.handed_out(folder):
        notebook = notebooks.read(path)
        edition = make_student(notebook, path.name, known)
        files[path.relative_to(folder)] = (nbformat.writes(edition, indent=1) + "\n").encode()
        if solutions and (solved := solutions_of(notebook)):
            files[Path("solutions", f"{path.stem}.py")] = solved.encode()
    record = read_json(out / WRITTEN) if (out / WRITTEN).is_file() else {}
    written = []
    for name, content in files.items():
        target, digest = out / name, hashlib.sha256(content).hexdigest()
        before = record.get(str(name))
        if digest != before or not target.exists():
            beside = (target.with_name(f"{name.stem}.new{n}{name.suffix}") for n in chain([""], count(2)))
            places = chain([target], beside)
            target = next(p for p in places if not p.exists() or sha256(p) in (before, digest))
            with atomic_path(target) as temporary:
                temporary.write_bytes(content)
        record[str(name)] = digest
        written += [target] if name.suffix == ".ipynb" else []
    write_json(out / WRITTEN, record)
    return written
