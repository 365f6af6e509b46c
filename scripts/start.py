"""Open the notebooks of an unpacked bundle in JupyterLab: `python start.py`. What follows the name runs instead, in the
same surroundings: `python start.py -m eo_ssl.cli --help`. What the chapters make stays in this folder."""

import os
import subprocess
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACK = """
import json, sys
from pathlib import Path
from eo_ssl.course import setup
from eo_ssl.course.student import student_edition
from eo_ssl.errors import EOError

try:
    student_edition(Path("edition"), Path("notebooks"))
    print("Making the data ready ...")
    setup(**json.load(open("bundle.json"))).source()
except (EOError, OSError) as error:
    sys.exit(f"error: {error}")
"""

missing = [name for name in ("torch", "timm", "rasterio", "jupyterlab", "anywidget") if not find_spec(name)]
if missing:
    sys.exit(
        f"error: {', '.join(missing)} not installed; see START.txt for what is needed once, with a network"
    )
os.environ["EO_SSL_CACHE"] = str(HERE / "cache")
os.environ["PYTHONPATH"] = str(HERE)  # this copy of the package before an installed one
os.environ.setdefault("EO_SSL_ALLOW_CPU", "1")  # whatever trained it: here it is read
for card in HERE.glob("cache/simulated/*/dataset.json"):
    with suppress(OSError):  # a copy may have lost its times, and files later than this one count as changed
        os.utime(card)
if code := subprocess.run([sys.executable, "-c", PACK], cwd=HERE).returncode:
    sys.exit(code)
command = sys.argv[1:] or ["-m", "jupyter", "lab", "notebooks"]
sys.exit(subprocess.run([sys.executable, *command], cwd=HERE).returncode)
