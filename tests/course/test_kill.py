"""A run that is killed or interrupted in the middle of a cell keeps what was done and goes on from there."""

import os
import signal
import subprocess
import sys
import time

import pytest

from eo_ssl.course import status

pytestmark = pytest.mark.kill

# The first time, the cell says who it is and then takes for ever.
SLOW = """
import os, pathlib, time
marker = pathlib.Path(run_dir, "marker")
if not marker.exists():
    marker.write_text(str(os.getpid()))
    time.sleep(600)
"""


@pytest.fixture
def start(write, folder, tmp_path):
    write("00_quick", "1")
    write("01_slow", SLOW)
    write("02_last", "2")

    def go():
        command = [sys.executable, "-m", "eo_ssl.cli", "course", "run", "--profile", "smoke"]
        command += [
            "--notebooks",
            str(folder),
            "--run-dir",
            str(tmp_path / "run"),
            "--only",
            "00",
            "--only",
            "01",
        ]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=heed_interrupt
        )

    return go


def heed_interrupt():
    """A shell that starts tests in the background makes them deaf to Ctrl-C, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for(condition, seconds=60):
    for _ in range(seconds * 20):
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s")


def is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    with open(f"/proc/{pid}/stat") as file:  # killed, but not collected by whoever adopted it
        return file.read().split()[2] == "Z"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda s: s.name)
def test_a_stopped_run_leaves_no_kernel_and_resumes(start, tmp_path, how):
    run_dir = tmp_path / "run"
    process = start()
    pid = int(wait_for(lambda: (run_dir / "marker").is_file() and (run_dir / "marker").read_text()))
    process.send_signal(how)
    said, _ = process.communicate(timeout=120)
    if how is signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130, said
        assert "goes on from here" in said and "Traceback" not in said
    wait_for(lambda: is_gone(pid))
    assert set(status.done(run_dir)) == {"00_quick"}
    assert not (run_dir / "01_slow.ipynb").exists()
    resumed = start()
    said, _ = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, said
    assert "00_quick: up to date" in said
    assert set(status.done(run_dir)) == {"00_quick", "01_slow"}
    assert sorted(p.name for p in run_dir.glob("*.ipynb")) == ["00_quick.ipynb", "01_slow.ipynb"]
