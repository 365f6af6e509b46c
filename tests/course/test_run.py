"""Running chapters: what is done is kept and skipped, what fails is named, and nothing half-written is left."""

import re
from contextlib import suppress

import nbformat
import pytest

from eo_ssl import cli
from eo_ssl.course import run as runner
from eo_ssl.course import status
from eo_ssl.course.forecast import Forecast
from eo_ssl.course.plan import make_plan
from eo_ssl.course.run import ChapterFailed
from eo_ssl.errors import ConfigError
from eo_ssl.files import write_text

DIVISION = "cell 3: ZeroDivisionError: division by zero"


@pytest.fixture
def run_dir(tmp_path):
    return tmp_path / "run{seed}{x}"  # braces in a path are only braces


@pytest.fixture
def run(folder, run_dir, capsys, monkeypatch):
    """Run the notebooks of the test at smoke; returns what was executed and what was said."""
    monkeypatch.setattr(runner, "LARGE", ("fractions",))  # imported in an instant

    def go(only=None, seed=0, **options):
        executed = runner.run_course(make_plan(folder, "smoke", "simulated", run_dir, seed, only), **options)
        return executed, capsys.readouterr().err

    return go


@pytest.fixture
def no_kernel(monkeypatch):
    """Chapters take no time: those that divide by zero fail, the others end as they are."""

    def execute(chapter, target, take_kernel):
        nbformat.write(chapter.notebook, target)
        if any("1 / 0" in cell.source for cell in chapter.notebook.cells):
            raise ChapterFailed(f"{chapter.stem}, {DIVISION}")

    monkeypatch.setattr(runner, "execute", execute)


def outputs(run_dir, stem):
    notebook = nbformat.read(run_dir / f"{stem}.ipynb", as_version=4)
    return "".join(o.get("text", "") for c in notebook.cells for o in c.get("outputs", []))


def test_chapters_run_in_order_with_their_parameters_and_modules_and_are_then_skipped(
    write, run, folder, run_dir
):
    write_text(folder / "chapters" / "ch01.py", "from chapters import numbers\nx = numbers.y")
    write_text(folder / "chapters" / "numbers.py", "y = 42")
    write("01_second", "from chapters import ch01\nprint(ch01.x, seed, open(run_dir + '/from_first').read())")
    first = write("00_first", "open(run_dir + '/from_first', 'w').write(profile);", prose="Old words.")
    notebook = nbformat.read(first, as_version=4)
    notebook.metadata["kernelspec"] = {"name": "no-such-kernel", "display_name": "x", "language": "python"}
    nbformat.write(notebook, first)
    sources = {p.name: p.read_bytes() for p in folder.glob("*.ipynb")}
    executed, said = run(seed=3)
    assert executed == ["00_first", "01_second"] and "[2/2] 01_second: done in" in said
    assert outputs(run_dir, "01_second") == "42 3 smoke\n"
    assert {p.name: p.read_bytes() for p in folder.glob("*.ipynb")} == sources, "the sources must not change"
    state = status.read(run_dir)
    assert {"profile", "device", "commit", "data", "seeds", "evidence", "machine", "versions"} <= set(state)
    chapter = state["chapters"]["01_second"]
    assert chapter["state"] == "done" and chapter["title"] == "Title of 01_second"
    assert 0 < chapter["minutes"] < 2 and set(state["expected"]) == {"00_first", "01_second"}
    second = nbformat.read(folder / "01_second.ipynb", as_version=4).cells[2].source
    write("01_second", second, prose="New words.")
    executed, said = run(seed=3)
    assert executed == [] and said.count("up to date") == 2 and said.count("text refreshed") == 1
    assert "New words." in (run_dir / "01_second.ipynb").read_text()
    assert outputs(run_dir, "01_second") == "42 3 smoke\n"
    assert "text refreshed" not in run(seed=3)[1]


def test_a_failing_cell_is_named_with_its_copy_the_others_run_and_once_mended_it_does_too(
    write, run, run_dir
):
    write("00_first", "ok = 1", "raise ValueError('the reason')")
    write("01_second", "2")
    with pytest.raises(ChapterFailed) as caught:
        run(keep_going=True)
    copy = run_dir / "00_first.failed.ipynb"
    assert f"00_first, cell 4: ValueError: the reason; executed copy: {copy}" == str(caught.value)
    assert "the reason" in copy.read_text()
    assert status.read(run_dir)["chapters"]["00_first"]["state"] == "failed"
    assert {p.name for p in run_dir.glob("*.ipynb")} == {copy.name, "01_second.ipynb"}
    write("00_first", "ok = 1")
    assert run(only=["00"])[0] == ["00_first"] and not copy.exists()


@pytest.mark.parametrize(
    ("kernel", "words"), [("python3", "the kernel died"), ("no-such-kernel", "not executed: NoSuchKernel")]
)
def test_a_kernel_that_dies_or_cannot_start_is_one_line_and_leaves_no_chapter_running(
    write, run, run_dir, monkeypatch, kernel, words
):
    write("00_first", "import os; os._exit(9)")
    monkeypatch.setitem(runner.notebooks.KERNELSPEC, "name", kernel)
    with pytest.raises(ChapterFailed, match=f"^00_first: {words}") as caught:
        run()
    assert "\n" not in str(caught.value) and (run_dir / "00_first.failed.ipynb").is_file()
    assert status.read(run_dir)["chapters"]["00_first"]["state"] == "failed"


def test_changed_code_runs_again_with_all_that_follows(write, run, no_kernel):
    write("00_first", "1")
    write("01_second", "2")
    assert run(only=["01"])[0] == ["01_second"]
    assert run()[0] == ["00_first"]
    write("01_second", "3")
    assert run()[0] == ["01_second"]
    write("00_first", "4")
    assert run()[0] == ["00_first", "01_second"]


@pytest.mark.parametrize("content", [None, "{", '{"chapters": 3}'])
def test_a_lost_copy_or_a_broken_status_file_costs_time_only(write, run, run_dir, no_kernel, content):
    write("00_first", "1")
    run()
    if content is None:
        (run_dir / "00_first.ipynb").unlink()
    else:
        (run_dir / status.FILE).write_text(content)
    assert run()[0] == ["00_first"]


def test_only_one_runner_works_in_a_run_folder(write, run, run_dir):
    write("00_first", "1")
    run_dir.mkdir()
    with runner.only_runner(run_dir), pytest.raises(ConfigError, match="another run is at work"):
        run()


def test_threads_wait_asleep_unless_the_user_says_otherwise(write, run, run_dir, monkeypatch):
    write("00_first", "import os; print(os.environ['OMP_NUM_THREADS'], os.environ['OMP_WAIT_POLICY'])")
    for said in ({}, {"OMP_NUM_THREADS": "3", "OMP_WAIT_POLICY": "ACTIVE"}):
        for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY"):
            monkeypatch.delenv(name, raising=False)
        for name, value in said.items():
            monkeypatch.setenv(name, value)
        run(force=True)
        assert outputs(run_dir, "00_first") == ("3 ACTIVE\n" if said else "1 PASSIVE\n")


def test_what_goes_wrong_while_an_interrupted_kernel_ends_does_not_hide_the_interrupt(
    write, run, monkeypatch
):
    write("00_first", "1")

    def interrupted(*_, **__):
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError("no kernel is running")

    monkeypatch.setattr("papermill.execute_notebook", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(keep_going=True)


@pytest.mark.parametrize(
    "code", ["import sys; print('fractions' in sys.modules, 'fractions' in dir())", "1 / 0"]
)
def test_the_next_kernel_starts_while_a_chapter_runs_leaves_no_name_and_never_stays(
    write, run, run_dir, monkeypatch, code
):
    for stem in ("00_first", "01_second"):
        write(stem, code)
    started, start = {}, runner.start_kernel

    def noted(chapter, run):
        kernel = start(chapter, run)
        started[chapter.stem] = kernel, [*status.done(run_dir)]
        return kernel

    monkeypatch.setattr(runner, "start_kernel", noted)
    with suppress(ChapterFailed):
        run()
        assert outputs(run_dir, "01_second") == "True False\n"
    assert {stem: done for stem, (_, done) in started.items()} == {"00_first": [], "01_second": []}
    assert not any(kernel.has_kernel and kernel.is_alive() for kernel, _ in started.values())


def test_what_it_will_take_is_said_first_and_the_time_left_follows_what_the_chapters_took(
    write, run, monkeypatch
):
    stems = [f"0{n}_x" for n in range(4)]
    for stem in stems:
        write(stem, "1")
    minutes = dict(zip(stems, (0.1, 2.0, 2.0, 4.0)))
    found = Forecast(minutes, dict.fromkeys(stems, 0.0), dict.fromkeys(stems, 0))
    now = [0.0]

    def five_times_slower(chapter, *_):
        now[0] += 5 * minutes[chapter.stem] * 60
        return 1.0

    monkeypatch.setattr(runner, "forecast", lambda *_: found)
    monkeypatch.setattr(runner, "run_chapter", five_times_slower)
    monkeypatch.setattr(runner.session, "simulated", lambda *_: None)
    monkeypatch.setattr(runner.time, "monotonic", lambda: now[0])
    said = run()[1]
    assert said.index("about 8 minutes in all") < said.index("[1/4]")
    left = [float(text) for text in re.findall(r"of ([\d.]+) left", said)]
    assert left[0] == pytest.approx(8.1, abs=0.1) and left[2:] == pytest.approx([30, 20], rel=0.3)


# ---- the command line ---------------------------------------------------------------------------------------


@pytest.fixture
def command(monkeypatch, capsys, folder, run_dir):
    """`command(...)`: exit status, output and errors of `eo-ssl course run` at smoke with these options."""

    def go(*options):
        start = ["eo-ssl", "course", "run", "--profile", "smoke", "--run-dir", str(run_dir)]
        monkeypatch.setattr("sys.argv", [*start, "--notebooks", str(folder), *options])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return caught.value.code, *capsys.readouterr()

    return go


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--profile", "laptp"], "did you mean laptop"),
        (["--only", "frst"], "did you mean 00_first"),
        (["--run-dir", f"{__file__}/x"], "cannot write there"),
    ],
)
def test_bad_input_is_answered_with_one_line_and_status_1(write, command, arguments, words):
    write("00_first", "1 / 0")
    code, _, error = command(*arguments)
    assert code == 1 and error.startswith("error: ") and words in error and error.count("\n") == 1


def test_a_dry_run_executes_nothing(write, command, run_dir, monkeypatch):
    write("00_first", "1 / 0")
    code, said, _ = command("--dry-run")
    assert code == 0 and "about 0 minutes in all" in said and not list(run_dir.glob("*.ipynb"))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, "Permission denied", "/private"), "/private: Permission denied"),
        (OSError("no space\nleft"), "no space left"),
        (RuntimeError("Could not determine home directory."), "has no home folder"),
        (ModuleNotFoundError("No module named 'nbclient'", name="nbclient"), "pip install 'eo_ssl[course]'"),
    ],
)
def test_whatever_the_system_refuses_is_one_line_too(monkeypatch, capsys, error, words):
    def refuse():
        raise error

    monkeypatch.setattr(cli, "app", refuse)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    said = capsys.readouterr().err
    assert caught.value.code == 1 and words in said and said.count("\n") == 1


def test_a_home_folder_in_an_option_is_expanded(write, folder, tmp_path, monkeypatch):
    write("00_first", "1")
    for name in ("HOME", "USERPROFILE"):  # of Windows
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "sys.argv", ["eo-ssl", "course", "student", "--notebooks=~/notebooks", "--out=~/edition"]
    )
    with pytest.raises(SystemExit):
        cli.main()
    assert (tmp_path / "edition" / "00_first.ipynb").is_file() and not (tmp_path / "~").exists()
