"""What a result was made with and on: commit, versions, and the machine, as released results name them."""

import ast
import hashlib
import platform
import re
import subprocess
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from eo_ssl import __version__
from eo_ssl.parallel import cores


@cache
def commit() -> str:
    """Short commit of the project, with "+" if the package or notebooks differ from it; else the version."""
    git = ["git", "-C", str(Path(__file__).resolve().parents[1])]
    options = {"capture_output": True, "text": True, "timeout": 10, "check": True}
    try:
        # A repository around this folder counts only if it keeps this package.
        subprocess.run([*git, "ls-files", "--error-unmatch", "eo_ssl/__init__.py"], **options)
        head = subprocess.run([*git, "rev-parse", "--short=9", "HEAD"], **options).stdout.strip()
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--", "eo_ssl", "notebooks"], **options
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return f"v{__version__}"
    return head + "+" * bool(changed.strip())


@cache
def versions() -> dict[str, str]:
    """What results may depend on: Python, torch with CUDA and cuDNN, timm, the package and its commit."""
    import torch

    cudnn = torch.backends.cudnn
    found = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": cudnn.version() if cudnn.is_available() else None,
        "timm": version("timm"),
        "eo_ssl": __version__,
        "commit": commit(),
    }
    return {name: str(value) for name, value in found.items() if value}


@cache
def training_code() -> str:
    """Twelve hex digits of the code that a trained model and its scores depend on: losses to training, and bands.

    Comments, docstrings and layout do not count, so that only a change of what is computed asks for new models.
    """
    root, digest = Path(__file__).resolve().parent, hashlib.sha256()
    for room in ("sensors.py", "losses", "models", "data", "evaluate", "train", "dual_simclr.py"):
        for path in sorted((root / room).rglob("*.py")) or [root / room]:
            digest.update(f"{path.relative_to(root)}\0{meaning(path.read_text(encoding='utf-8'))}\0".encode())
    return digest.hexdigest()[:12]


def meaning(source: str) -> str:
    """Python source without comments, docstrings and layout.

    >>> meaning("x = 1  # one") == meaning("x  =  1"), meaning("x = 1") == meaning("x = 2")
    (True, False)
    >>> meaning("def f(x): pass")  # the same for every version of Python
    "Module(body=[FunctionDef(name='f', args=arguments(args=[arg(arg='x')]), body=[Pass()])])"
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        match getattr(node, "body", None):
            case [ast.Expr(value=ast.Constant(value=str())), *rest]:
                node.body = rest
    return _outline(tree)


def _outline(node: Any) -> str:
    """A syntax tree as text, without empty fields, which differ between versions of Python; `ast.dump` shows some."""
    if isinstance(node, list):
        return f"[{', '.join(map(_outline, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = (f"{k}={_outline(v)}" for k, v in ast.iter_fields(node) if v is not None and v != [])
    return f"{type(node).__name__}({', '.join(fields)})"


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


def cpu_name() -> str:
    """The processor's name: from Linux where it tells, otherwise what Python knows."""
    with suppress(OSError):
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        if found := re.search(r"^model name\s*:[ \t]*(\S.*)", told, re.MULTILINE):
            return found[1].strip()
    return platform.processor() or platform.machine()
