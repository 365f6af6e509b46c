"""A run that is killed or interrupted in the middle of a cell keeps what was done and goes on from there."""

import os
import signal
import time

import forked
import psutil
import pytest

from eo_ssl.course import run as runner
from eo_ssl.course import status

pytestmark = [pytest.mark.kill, pytest.mark.skipif(os.name != "posix", reason="Windows has no such signals")]

# Says who it is, and then takes for ever until it may end.
SLOW = """
import os, pathlib, time
pathlib.Path(run_dir, "who").write_text(str(os.getpid()))
while not pathlib.Path(run_dir, "go").exists():
    time.sleep(0.1)
"""


def run_course(*options):
    runner.LARGE = ("fractions",)  # imported in an instant
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are deaf to Ctrl-C
    forked.command("course", "run", "--profile", "smoke", *options)


def wait_for(condition, seconds=60):
    for _ in range(seconds * 20):
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s")


def is_gone(pid):
    try:  # or killed, but not collected by whoever adopted it
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_stopped_run_leaves_no_kernel_and_resumes(write, folder, tmp_path):
    write("00_quick", "1")
    write("01_slow", SLOW)
    run_dir, who, log = tmp_path / "run", tmp_path / "run" / "who", tmp_path / "log"
    options = ["--notebooks", str(folder), "--run-dir", str(run_dir)]
    for how in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        log.unlink(missing_ok=True)
        process = forked.start(run_course, *options, output=log)
        pid = int(wait_for(lambda: who.is_file() and who.read_text()))
        os.kill(process.pid, how)
        process.join(120)
        said = log.read_text()
        if how is signal.SIGKILL:
            assert process.exitcode == -signal.SIGKILL
        else:
            assert process.exitcode == 130 and "goes on from here" in said and "Traceback" not in said, said
        wait_for(lambda pid=pid: is_gone(pid))
        assert set(status.done(run_dir)) == {"00_quick"} and not (run_dir / "01_slow.ipynb").exists()
        who.unlink()
    (run_dir / "go").touch()
    process = forked.start(run_course, *options)
    process.join(120)
    assert process.exitcode == 0 and set(status.done(run_dir)) == {"00_quick", "01_slow"}
    assert sorted(p.name for p in run_dir.glob("*.ipynb")) == ["00_quick.ipynb", "01_slow.ipynb"]
