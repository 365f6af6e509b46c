"""What a result was made with and on: commit, versions, and the machine, as released results name them."""

import ast
import hashlib
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from eo_ssl import __version__
from eo_ssl.parallel import cores


@cache
def commit() -> str:
    """Short commit of the project, with "+" if the package or notebooks differ from it; else the version."""
    root = Path(__file__).resolve().parents[1]

    def git(*args: str) -> str:
        done = subprocess.run(["git", "-C", str(root), *args], capture_output=True, text=True, timeout=10)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        head = git("rev-parse", "--short=9", "HEAD")
        changed = git("status", "--porcelain", "--", "eo_ssl", "notebooks")
    except (OSError, subprocess.TimeoutExpired):
        head, changed = "", ""
    return head + ("+" if changed else "") if head else f"v{__version__}"


@cache
def versions() -> dict[str, str]:
    """What results may depend on: Python, torch with CUDA and cuDNN, timm, the package and its commit."""
    import torch
    from timm import __version__ as timm

    cudnn = torch.backends.cudnn.version() if torch.backends.cudnn.is_available() else None
    found = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": cudnn,
        "timm": timm,
        "eo_ssl": __version__,
        "commit": commit(),
    }
    return {name: str(value) for name, value in found.items() if value}


@cache
def training_code() -> str:
    """Twelve hex digits of the code that a trained model depends on: losses, models, data, training.

    Comments, docstrings and layout do not count, so that only a change of what is computed asks for new models.
    """
    root, digest = Path(__file__).resolve().parent, hashlib.sha256()
    for folder in ("losses", "models", "data", "train"):
        for path in sorted((root / folder).rglob("*.py")):
            digest.update(f"{path.relative_to(root)}\0{meaning(path.read_text(encoding='utf-8'))}\0".encode())
    return digest.hexdigest()[:12]


def meaning(source: str) -> str:
    """Python source without comments, docstrings and layout.

    >>> meaning("x = 1  # one") == meaning("x  =  1"), meaning("x = 1") == meaning("x = 2")
    (True, False)
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                del body[0]
    return ast.dump(tree)


@cache
def machine() -> dict[str, Any]:
    """`{"cpu": name, "cores": number, "memory_gb": number, "gpus": [names]}` of this machine.

    Cores are those that this process may use; memory is all there is, in 10⁹ bytes.
    """
    import psutil
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    memory = round(psutil.virtual_memory().total / 1e9, 1)
    return {"cpu": cpu_name(), "cores": cores(), "memory_gb": memory, "gpus": gpus}


def cpu_name(cpuinfo: str = "/proc/cpuinfo") -> str:
    """The processor's name: from Linux where it tells, otherwise what Python knows."""
    try:
        with open(cpuinfo, encoding="utf-8") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name.strip() == "model name" and value.strip():
                    return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
