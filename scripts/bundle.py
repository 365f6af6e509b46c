"""Pack a finished run for rooms without network: one archive that holds all of the course but Python and its packages.

    python scripts/bundle.py --profile laptop      # book/_build/eo_ssl-laptop.tar.gz; or: make bundle

Inside lies a folder in the layout of the project: `index.html` leads to the book (and its slides), `edition/` is the
student edition with its solutions aside, `runs/` holds what was trained and tested, `cache/` the data, so that every
chapter begins in seconds. `start.py` opens it, with the edition in `notebooks/`; neither git nor a network is needed.
"""

import argparse
import re
import tarfile
import tempfile
from pathlib import Path

from eo_ssl.course import book, session, status
from eo_ssl.course.student import WRITTEN, student_edition
from eo_ssl.errors import ConfigError, DataError, EOError
from eo_ssl.files import atomic_path, cache_dir, write_json, write_text
from eo_ssl.profiles import get_profile

# Of a run: what chapters load instead of training it. Of the project: what notebooks and `start.py` need.
TRAINED = ("status.json", "results.jsonl", "counts", "models", "pretrain")
PROJECT = (
    "eo_ssl",
    "book/results",
    "data",
    "pyproject.toml",
    "constraints.txt",
    "README.md",
    "LICENSE",
    "LICENSE-CONTENT",
)
# Made again where they are missed; what was handed out to whom is known to each unpacked folder itself.
LEFT_OUT = re.compile(rf"__pycache__|\.store|resume\.pt|.*\.lock|{re.escape(WRITTEN)}")
DOOR = '<!doctype html><html lang="en"><title>The course</title><meta http-equiv="refresh" content="0; url=html/index.html">'
DOOR += '<a href="html/index.html">The course</a></html>\n'
START = """\
The course, for a computer without network.

  read      open index.html in a browser; under every title is a link to the chapter as slides
  do        python start.py        opens the notebooks in JupyterLab; exercises are yours to solve
  solved    edition/solutions/

The second needs Python 3.11 or later and the packages of the course, installed beforehand, while there was a network:
pip install -c constraints.txt ".[course]" in this folder. What the chapters train is here already (runs/), and so are
the data (cache/): any chapter can be the first. What you and they make stays in this folder. A newer bundle that is
unpacked over it replaces runs/; your work in notebooks/ is kept, and new versions lie beside it as NAME.new.ipynb.
"""


def bundle(root: Path, run_dir: Path, out: Path, pages: Path | None = None) -> Path:
    """Write the archive of a run to `out`; `pages` is its book, built here where it is not given.

    Raises `DataError` where nothing was executed, `ConfigError` for a run on data that are not the course's to pass on.
    """
    if not (done := status.done(run_dir)):
        raise DataError(f"{run_dir}: no executed chapter there; run `make course` first, then `make bundle`")
    state = status.read(run_dir)
    run = session.Run(get_profile(state["profile"]), session.SIMULATED, run_dir, state["seeds"]["first"])
    if state["data"] != run.data_version:
        raise ConfigError(f"{run_dir}: made with {state['data']}; a bundle holds {run.data_version} only")
    data = session.simulated(run.profile, run.seed)
    with tempfile.TemporaryDirectory() as temporary:
        made = Path(temporary)
        if pages is None:
            pages = book.build(root, run_dir, made / "html").parent
        for path in student_edition(root / "notebooks", made / "edition", solutions=True):
            text = path.read_text(encoding="utf-8")
            text = text.replace('profile = \\"laptop\\"', f'profile = \\"{run.profile.name}\\"', 1)
            write_text(path, text.replace('"seed = 0"', f'"seed = {run.seed}"', 1))
        write_text(made / "index.html", DOOR)
        write_text(made / "START.txt", START)
        write_json(made / "bundle.json", {"profile": run.profile.name, "seed": run.seed})
        parts = {made / name: name for name in ("index.html", "START.txt", "bundle.json", "edition")}
        parts |= {pages: "html", root / "scripts" / "start.py": "start.py"}
        parts |= {root / name: name for name in PROJECT}
        runs = f"runs/{session.run_folder(run.profile.name, seed=run.seed).name}"  # where notebooks will look
        parts |= {run_dir / name: f"{runs}/{name}" for name in TRAINED}
        parts |= {data: f"cache/simulated/{data.name}", cache_dir() / "samples": "cache/samples"}
        with atomic_path(out) as archive, tarfile.open(archive, "w:gz", compresslevel=1) as tar:
            for path, name in parts.items():
                if path.exists():
                    tar.add(path, f"eo_ssl-{run.profile.name}/{name}", filter=plain)
    print(f"{out}: {out.stat().st_size / 1e6:.0f} MB, {len(done)} chapters; unpack it and read START.txt")
    return out


def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """The entry without its owner; None for what is left out. Times stay: by them the data are known."""
    if LEFT_OUT.fullmatch(Path(entry.name).name):
        return None
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def main() -> None:
    """Pack the run that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--run-dir", default="", help="run folder; default runs/<profile>")
    parser.add_argument(
        "--out", type=Path, help="archive to write; default book/_build/eo_ssl-<profile>.tar.gz"
    )
    asked = parser.parse_args()
    root = session.project_root()
    out = asked.out or root / "book" / "_build" / f"eo_ssl-{asked.profile}.tar.gz"
    try:
        bundle(root, session.run_folder(get_profile(asked.profile).name, asked.run_dir), out.resolve())
    except EOError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
