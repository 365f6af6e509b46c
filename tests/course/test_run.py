"""Running chapters: what is done is kept and skipped, what fails is named, and nothing half-written is left."""

import io
import json

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eo_ssl import cli
from eo_ssl.course import run as runner
from eo_ssl.course import status
from eo_ssl.course.plan import make_plan
from eo_ssl.course.run import ChapterFailed
from eo_ssl.errors import ConfigError
from eo_ssl.files import write_text
from eo_ssl.parallel import cores


@pytest.fixture
def run(folder, tmp_path):
    """Run the notebooks of the test at smoke; returns what was executed and what was said."""

    def go(**options):
        settings = {name: options.pop(name) for name in ("only", "seed", "run_dir") if name in options}
        plan = make_plan(folder, "smoke", **{"run_dir": tmp_path / "run", **settings})
        said = options.pop("stream", io.StringIO())
        executed = runner.run_course(plan, stream=said, **options)
        return executed, said.getvalue()

    return go


def outputs(tmp_path, stem):
    notebook = nbformat.read(tmp_path / "run" / f"{stem}.ipynb", as_version=4)
    return "".join(o.get("text", "") for c in notebook.cells for o in c.get("outputs", []))


def test_chapters_run_in_order_with_the_parameters_and_are_then_skipped(write, run, folder, tmp_path):
    write("01_second", "print(seed, open(run_dir + '/from_first').read())")
    write("00_first", "open(run_dir + '/from_first', 'w').write(profile);")
    sources = {p.name: p.read_bytes() for p in folder.iterdir()}
    executed, said = run(seed=3)
    assert executed == ["00_first", "01_second"]
    assert outputs(tmp_path, "01_second") == "3 smoke\n"
    assert "[2/2] 01_second: done in" in said
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == sources, "the sources must not change"
    executed, said = run(seed=3)
    assert executed == [] and said.count("up to date") == 2
    assert run(seed=3, force=True)[0] == ["00_first", "01_second"]


def test_a_chapter_imports_the_modules_that_lie_beside_it(write, run, folder, tmp_path):
    write_text(folder / "chapters" / "ch01.py", "from chapters import numbers\nx = numbers.y")
    write_text(folder / "chapters" / "numbers.py", "y = 42")
    write("01_seeing", "from chapters import ch01\nprint(ch01.x)")
    run()
    assert outputs(tmp_path, "01_seeing") == "42\n"


def test_status_tells_minutes_device_commit_data_and_seeds(write, run, tmp_path):
    write("00_first", "import time; time.sleep(0.3)")
    run()
    state = json.loads((tmp_path / "run" / "status.json").read_text())
    assert {"profile", "device", "commit", "data", "seeds", "evidence"} <= set(state)
    chapter = state["chapters"]["00_first"]
    assert chapter["state"] == "done" and chapter["title"] == "Title of 00_first"
    assert 0.3 / 60 <= chapter["minutes"] < 2
    assert status.expected_minutes("smoke", tmp_path / "run") == {"00_first": chapter["minutes"]}


def test_changed_code_runs_again_with_all_that_follows(write, run):
    write("00_first", "1")
    write("01_second", "2")
    run()
    write("01_second", "3")
    assert run()[0] == ["01_second"]
    write("00_first", "4")
    assert run()[0] == ["00_first", "01_second"]


def test_changed_prose_is_refreshed_without_running(write, run, tmp_path):
    write("00_first", "print('computed')", prose="Old words.")
    run()
    write("00_first", "print('computed')", prose="New words.")
    executed, said = run()
    assert executed == [] and "text refreshed" in said
    assert "New words." in (tmp_path / "run" / "00_first.ipynb").read_text()
    assert outputs(tmp_path, "00_first") == "computed\n"
    assert "text refreshed" not in run()[1]


def test_a_failing_cell_is_named_with_its_error_and_the_executed_copy(write, run, tmp_path):
    write("00_first", "ok = 1", "raise ValueError('the reason')")
    write("01_second", "2")
    with pytest.raises(ChapterFailed) as caught:
        run()
    copy = tmp_path / "run" / "00_first.failed.ipynb"
    assert f"00_first, cell 4: ValueError: the reason; executed copy: {copy}" == str(caught.value)
    assert "the reason" in copy.read_text()
    assert {p.name for p in (tmp_path / "run").glob("*.ipynb")} == {copy.name}
    assert status.read(tmp_path / "run")["chapters"]["00_first"]["state"] == "failed"


def test_keep_going_runs_the_others_and_still_fails(write, run, tmp_path):
    write("00_first", "1 / 0")
    write("01_second", "2")
    with pytest.raises(ChapterFailed, match="ZeroDivisionError"):
        run(keep_going=True)
    assert set(status.done(tmp_path / "run")) == {"01_second"}


def test_a_mended_chapter_runs_and_its_failed_copy_goes(write, run, tmp_path):
    write("00_first", "1 / 0")
    with pytest.raises(ChapterFailed):
        run()
    write("00_first", "1 / 1")
    assert run()[0] == ["00_first"]
    assert not list((tmp_path / "run").glob("*.failed.ipynb"))


def test_a_dead_kernel_is_reported_not_waited_for(write, run):
    write("00_first", "import os; os._exit(9)")
    with pytest.raises(ChapterFailed, match="the kernel died"):
        run()


def test_a_deleted_executed_copy_is_made_again(write, run, tmp_path):
    write("00_first", "1")
    run()
    (tmp_path / "run" / "00_first.ipynb").unlink()
    assert run()[0] == ["00_first"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"chapters": 3}'])
def test_a_broken_status_file_costs_time_only(write, run, tmp_path, content):
    write("00_first", "1")
    run()
    status.path(tmp_path / "run").write_text(content)
    assert run()[0] == ["00_first"]


def test_only_one_runner_works_in_a_run_folder(write, run, tmp_path):
    write("00_first", "1")
    (tmp_path / "run").mkdir()
    with runner.only_runner(tmp_path / "run"), pytest.raises(ConfigError, match="another run is at work"):
        run()


def test_only_runs_the_chapters_asked_for(write, run):
    write("00_first", "1")
    write("01_second", "2")
    assert run(only=["01"])[0] == ["01_second"]


def test_a_chapter_saved_with_another_kernel_runs_all_the_same(write, run, folder):
    path = write("00_first", "1")
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata["kernelspec"] = {"name": "no-such-kernel", "display_name": "x", "language": "python"}
    nbformat.write(notebook, path)
    assert run()[0] == ["00_first"]


def test_what_keeps_a_kernel_from_starting_is_one_line_and_the_chapter_is_not_left_running(
    write, run, tmp_path, monkeypatch
):
    write("00_first", "1")
    monkeypatch.setitem(runner.notebooks.KERNELSPEC, "name", "no-such-kernel")
    with pytest.raises(ChapterFailed, match=r"^00_first: not executed: NoSuchKernel") as caught:
        run()
    assert "\n" not in str(caught.value)
    assert status.read(tmp_path / "run")["chapters"]["00_first"]["state"] == "failed"


def test_braces_in_the_paths_are_only_braces(write, folder, run, tmp_path):
    write("00_first", "print(run_dir)")
    folder.rename(folder.with_name("notebooks"))
    assert run(run_dir=tmp_path / "run{seed}{x}")[0] == ["00_first"]
    assert (tmp_path / "run{seed}{x}" / "00_first.ipynb").is_file() and not (tmp_path / "run0").exists()


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_a_bar_counts_to_the_end_and_elsewhere_there_are_only_lines(write, run):
    write("00_first", "1")
    write("01_second", "2")
    terminal, log = Terminal(), io.StringIO()
    run(stream=terminal)
    assert "100%" in terminal.getvalue() and "left" in terminal.getvalue()
    run(stream=log, force=True)
    assert "%" not in log.getvalue() and "\r" not in log.getvalue() and log.getvalue().count("\n") <= 6


# ---- threads: chosen by measurement, more of them only where they help --------------------------------------


@given(st.dictionaries(st.integers(1, 64), st.floats(1e-3, 10), min_size=1))
def test_the_choice_of_threads_is_never_slower_than_one_and_never_wasteful(seconds):
    seconds[1] = 1.0
    chosen, fastest = runner.choose(seconds), min(seconds.values())
    assert seconds[chosen] <= 1.0 and runner.FULL_USE * seconds[chosen] <= fastest
    assert all(runner.FULL_USE * seconds[n] > fastest for n in seconds if n < chosen)


def test_the_measured_number_is_one_that_this_process_may_use():
    assert 1 <= runner.fitting_threads() <= cores()


def test_threads_that_cannot_be_measured_or_not_in_time_leave_all_cores(monkeypatch):
    assert runner.fitting_threads(seconds=0.01) == cores()
    monkeypatch.setattr("sys.executable", "/bin/false")
    assert runner.fitting_threads() == cores()


# ---- the command line ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--profile", "laptp"], "did you mean laptop"),
        (["--only", "99"], "no chapter '99'"),
        (["--run-dir", "/dev/null"], "cannot write there"),
        (["--data", "/nowhere"], "is not a folder"),
        (["--run-dir", "/dev/null/x"], "cannot write there"),
        (["--profile", "gpu"], "needs a CUDA GPU"),
        (["--profile", "paper"], "needs real data"),
    ],
)
def test_the_command_line_answers_bad_input_with_one_line_and_status_1(
    write, folder, tmp_path, monkeypatch, capsys, arguments, words
):
    write("00_first", "1 / 0")
    start = ["eo-ssl", "course", "run", "--profile", "smoke", "--run-dir", str(tmp_path / "run")]
    monkeypatch.setattr("sys.argv", [*start, "--notebooks", str(folder), *arguments])
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    error = capsys.readouterr().err
    assert caught.value.code == 1
    assert error.startswith("error: ") and words in error and error.count("\n") == 1


@pytest.mark.parametrize("more", [[], ["--keep-going"]], ids=["stop", "keep going"])
def test_the_command_line_reports_a_failing_cell_with_status_1(
    write, folder, tmp_path, monkeypatch, capsys, more
):
    write("00_first", "1 / 0")
    write("01_second", "2")
    arguments = [*more, "--notebooks", str(folder), "--run-dir", str(tmp_path / "run"), "--profile", "smoke"]
    monkeypatch.setattr("sys.argv", ["eo-ssl", "course", "run", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 1
    assert "00_first, cell 3: ZeroDivisionError: division by zero; executed copy: " in capsys.readouterr().err
    assert list(status.done(tmp_path / "run")) == (["01_second"] if more else [])


def test_a_dry_run_executes_nothing(write, folder, tmp_path, monkeypatch, capsys):
    write("00_first", "1 / 0")
    monkeypatch.setattr("eo_ssl.course.estimate.cost", lambda config, timed: (1e-3, 0.0, 1_000))
    arguments = [
        "--notebooks",
        str(folder),
        "--run-dir",
        str(tmp_path / "run"),
        "--profile",
        "smoke",
        "--dry-run",
    ]
    monkeypatch.setattr("sys.argv", ["eo-ssl", "course", "run", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 0
    assert "00_first: not timed yet" in capsys.readouterr().out
    assert not list((tmp_path / "run").glob("*.ipynb"))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, "Permission denied", "/private"), "/private: Permission denied"),
        (OSError("no space\nleft"), "no space left"),
        (
            ModuleNotFoundError("No module named 'papermill'", name="papermill"),
            "pip install 'eo_ssl[course]'",
        ),
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
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for option in ("--out=~/edition", "--out=~/edition"):
        monkeypatch.setattr("sys.argv", ["eo-ssl", "course", "student", "--notebooks=~/notebooks", option])
        with pytest.raises(SystemExit):
            cli.main()
    assert (tmp_path / "edition" / "00_first.ipynb").is_file() and not (tmp_path / "~").exists()
