"""Who does which cell of a grid: a lock per cell that the operating system frees when its owner dies.

A lock *file* alone (created with O_EXCL) outlives a process killed with −9, and telling a dead owner from a
slow one by process id is a race. A lock *held by* the process (flock, through `filelock`) ends with the
process, so a killed cell is free at once and a running one never is. The `.owner` file beside it is for
people only.
"""

import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def claim(folder: str | Path, key: str) -> Iterator[bool]:
    """Try to own cell `key` while the block runs; yields False at once if somebody else does.

    Works between processes, and between machines that share a file system with locks (NFS 4, Lustre with
    flock).
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^A-Za-z0-9.=-]+", "_", key)
    lock = FileLock(folder / f"{name}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    try:
        owner = f"{socket.gethostname()} {os.getpid()} {time.strftime('%Y-%m-%dT%H:%M:%S')}\n"
        (folder / f"{name}.owner").write_text(owner)
        yield True
    finally:
        lock.release()
