"""Open the notebooks of an unpacked bundle in JupyterLab: `python start.py`. What follows the name runs instead, in the
same surroundings: `python start.py -m eo_ssl.cli --help`. What the chapters make stays in this folder."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACK = """
import json
from eo_ssl.course import setup

print("Making the data ready ...")
setup(**json.load(open("bundle.json"))).source()
"""

missing = [name for name in ("torch", "timm", "rasterio", "jupyterlab", "anywidget") if not find_spec(name)]
if missing:
    sys.exit(
        f"error: {', '.join(missing)} not installed; see START.txt for what is needed once, with a network"
    )
os.environ["EO_SSL_CACHE"] = str(HERE / "cache")
os.environ["PYTHONPATH"] = str(HERE)  # this copy of the package before an installed one
command = sys.argv[1:]
if not command:
    subprocess.run([sys.executable, "-c", PACK], cwd=HERE, check=True)
    command = ["-m", "jupyter", "lab", "notebooks"]
sys.exit(subprocess.run([sys.executable, *command], cwd=HERE).returncode)
