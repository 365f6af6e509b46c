"""The workflows: who may start them, where they run, what they keep, and every shell step of them, run here.

What cannot be here has a stand-in: the GPU and PyTorch's view of it, what GitHub answers (`gh`), the installation (the
environment of these tests is linked in), and the size (profile smoke, two chapters, the files of tests for a GPU).
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request

import pytest
import yaml
from finished_run import finish

from eo_ssl.course import notebooks, session
from eo_ssl.files import read_json, write_text

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))
CHAPTERS = ("00_preflight", "03_data_fusion")  # one without results, one with
LEFT_OUT = {".*cache", ".git", ".venv", "runs", "_build", "student", "vendor", "__pycache__", ".hypothesis"}


def load(name: str) -> dict[str, Any]:
    """A workflow; `on` is True for YAML, which takes the word for a truth value."""
    return yaml.safe_load((FOLDER / f"{name}.yml").read_text(encoding="utf-8"))


GPU, PAGES, REHEARSAL = load("gpu"), load("pages"), load("rehearsal")
on_a_runner = pytest.mark.skipif(sys.platform != "linux", reason="the runners of these workflows are Linux")


def job(workflow: dict[str, Any]) -> dict[str, Any]:
    """The first job, which does the work."""
    return next(iter(workflow["jobs"].values()))


def step(workflow: dict[str, Any], part: str) -> dict[str, Any]:
    """The step whose name, id or action holds `part`, with the environment of its job."""
    (found,) = [
        {**s, "env": {**one.get("env", {}), **s.get("env", {})}}
        for one in workflow["jobs"].values()
        for s in one["steps"]
        if part in (s.get("name") or s.get("uses", "") + s.get("id", ""))
    ]
    return found


# ---- rules -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [path.stem for path in WORKFLOWS])
def test_rights_are_few_every_job_ends_and_steps_take_nothing_from_outside_or_from_later_steps(name):
    workflow = load(name)
    assert workflow["permissions"] == {"contents": "read"}
    for job_name, one in workflow["jobs"].items():
        writes = {what for what, right in one.get("permissions", {}).items() if right == "write"}
        assert writes == {"deploy": {"pages", "id-token"}, "next-job": {"actions"}}.get(job_name, set())
        assert not (writes and "checkout" in str(one["steps"])), "no code of ours runs with a right to write"
        assert one["timeout-minutes"]
        known: set[str] = set()
        for each in one["steps"]:
            assert "${{" not in each.get("run", ""), f"{each}: pass it through env"
            assert set(re.findall(r"steps\.(\w+)\.", yaml.safe_dump(each))) <= known
            known |= {each["id"]} if "id" in each else set()


def test_every_action_is_pinned_to_one_commit_whose_version_is_named():
    used = re.findall(r"^[\s-]*uses: (.*)", "\n".join(map(Path.read_text, WORKFLOWS)), re.MULTILINE)
    pins = [
        re.fullmatch(r"([\w-]+/[\w-]+)[\w/-]*@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)", action) for action in used
    ]
    assert used and all(pins), used
    assert len({pin.groups() for pin in pins}) == len({pin[1] for pin in pins})


class Event(dict):
    """An event whose fields are attributes; one that is missing equals nothing."""

    def __getattr__(self, name: str) -> Any:
        found = self.get(name, {})
        return Event(found) if isinstance(found, dict) else found


def allowed(workflow: dict[str, Any], runner: str = "", **event: Any) -> bool:
    """The job's condition for an event; its few operators are nearly those of Python."""
    text = " ".join(job(workflow)["if"].split()).replace("&&", " and ").replace("||", " or ")
    return bool(eval(text, {"github": Event(event), "vars": Event(GPU_RUNNER=runner)}))


def test_the_full_run_starts_by_label_weekly_and_by_hand_on_one_runner_and_never_for_a_fork():
    starts = GPU[True]
    assert starts["pull_request"] == {"types": ["labeled"]}
    assert re.fullmatch(r"\d+ \d+ \* \* [0-6]", starts["schedule"][0]["cron"])
    assert starts["workflow_dispatch"]["inputs"]["profile"]["options"] == ["gpu", "paper"]
    runners = {name: one["runs-on"] for name, one in GPU["jobs"].items()}
    assert "vars.GPU_RUNNER" in runners.pop("full-run") and set(runners.values()) == {"ubuntu-latest"}
    assert allowed(GPU, event_name="workflow_dispatch") and allowed(GPU, '"gpu"', event_name="schedule")
    assert not allowed(GPU, event_name="schedule"), "where there is no runner, nothing fails each week"
    for label, origin, runs in (("gpu", "us", True), ("gpu", "them", False), ("bug", "us", False)):
        about = {"label": {"name": label}, "pull_request": {"head": {"repo": {"full_name": origin}}}}
        assert allowed(GPU, event_name="pull_request", repository="us", event=about) is runs


def test_the_book_is_published_from_main_only_after_ci_has_passed():
    assert PAGES[True]["workflow_run"] == {"workflows": ["CI"], "types": ["completed"], "branches": ["main"]}
    assert load("ci")["name"] == "CI" and PAGES["jobs"]["deploy"]["needs"] == "build"
    assert allowed(PAGES, event_name="workflow_dispatch", ref="refs/heads/main")
    assert not allowed(PAGES, event_name="workflow_dispatch", ref="refs/heads/other")
    taken = step(PAGES, "Take the last full run")["run"]  # of a fork, `main` may be a branch, too
    assert 'select(.event != "pull_request" and' in taken
    passed = {"conclusion": "success", "event": "push", "head_repository": {"full_name": "us"}}
    fork = {"head_repository": {"full_name": "them"}}
    about = {"event_name": "workflow_run", "repository": "us", "ref": "refs/heads/main"}
    for differs in ({}, {"conclusion": "failure"}, {"event": "pull_request"}, fork):
        assert allowed(PAGES, **about, event={"workflow_run": {**passed, **differs}}) is (not differs)


def hashed(text: str) -> set[Path]:
    """The files whose contents are in the key of a cache."""
    patterns = re.findall(r"'([^']+)'", re.search(r"hashFiles\(([^)]+)\)", text)[1])
    return {path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file()}


def test_a_run_on_a_rented_machine_goes_on_only_with_what_the_same_package_has_made():
    restore = step(PAGES, "Go on with the run folder")["with"]
    assert restore["key"].startswith(restore["restore-keys"].strip()), "only the last part may differ"
    assert restore["key"].endswith("${{ github.run_id }}-${{ github.run_attempt }}"), "each run keeps its own"
    package = {p for end in ("py", "js", "css", "json") for p in (ROOT / "eo_ssl").rglob(f"*.{end}")}
    assert hashed(restore["restore-keys"]) == package | {ROOT / "constraints.txt"}
    keep = step(PAGES, "Keep the run folder")
    assert keep["with"] == {"path": restore["path"], "key": "${{ steps.restore.outputs.cache-primary-key }}"}
    assert keep["if"].startswith("always()"), "an interrupted run is kept, too"


def test_a_run_on_our_own_machine_is_in_no_cache_and_its_pages_are_kept_without_its_checkpoints():
    assert "actions/cache" not in (FOLDER / "gpu.yml").read_text()
    group, settings = job(GPU)["concurrency"]["group"], job(GPU)["env"]
    assert group == f"full-run-{settings['PROFILE']}-{settings['DATA']}", "one job at a time holds it"
    assert "github.event_name == 'schedule'" in settings["FRESH"], "the weekly run begins anew"
    upload = step(GPU, "Keep the executed notebooks")
    assert upload["if"].startswith("always()"), "what it made is uploaded whatever happened"
    kept = upload["with"]["path"].replace("runs/${{ env.PROFILE }}", "run").split()
    small = ["run/*.ipynb", "run/results.jsonl", "run/status.json", "run/failures.log", "run/counts"]
    assert kept == [*small, "book/_build/html"], "never gigabytes of checkpoints"


def test_a_job_ends_itself_before_it_is_ended_and_the_next_has_the_same_commit():
    one, run, following = job(GPU), step(GPU, "Run the course"), GPU["jobs"]["next-job"]
    assert one["env"]["MINUTES"] < run["timeout-minutes"] < one["timeout-minutes"] <= 360
    assert following["needs"] == "full-run" and "outputs.state == 'unfinished'" in following["if"]
    assert one["outputs"]["state"] == "${{ steps.run.outputs.state }}"
    assert step(GPU, "checkout")["with"]["ref"] == "${{ inputs.commit }}"
    assert step(GPU, "Ask for")["env"]["COMMIT"] == "${{ inputs.commit || github.sha }}"


@pytest.mark.parametrize("name", ["ci", "pages"])
def test_packages_are_kept_between_runs_and_come_without_cuda_where_there_is_none(name):
    cache = step(load(name), "Keep packages")["with"]
    assert "~/.cache/uv" in cache["path"].split() and "!" not in cache["path"]
    assert ROOT / "constraints.txt" in hashed(cache["key"])
    assert job(load(name))["env"]["UV_TORCH_BACKEND"] == "cpu"


# ---- every shell step, run here ----------------------------------------------------------------------------


class Scratch:
    """A copy of the project with two chapters, committed, in which the steps of a workflow are run as scripts."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin, self.temp = folder / "course", folder / "bin", folder / "temp"
        shutil.copytree(ROOT, self.folder, ignore=shutil.ignore_patterns(*LEFT_OUT))
        tests = self.folder.glob("tests/train/test_*.py")  # one step runs those for a GPU, and would read all
        for path in [*notebooks.sources(self.folder / "notebooks"), *tests]:
            if path.stem not in CHAPTERS and "mark.gpu" not in path.read_text():
                path.unlink()
        self.bin.mkdir()
        self.temp.mkdir()
        about = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
        for words in (["init", "-q"], ["add", "--all"], [*about, "commit", "-q", "-m", "all"]):
            subprocess.run(["git", *words], cwd=self.folder, check=True, capture_output=True)
        # `.venv` with what is installed here, newer than the lock, so that `make` has nothing to install.
        (self.folder / ".venv").mkdir()
        for entry in Path(sys.prefix).iterdir():
            if not entry.name.startswith("ready-"):
                (self.folder / ".venv" / entry.name).symlink_to(entry)
        for extra in ("course", "test"):
            (self.folder / ".venv" / f"ready-{extra}").touch()

    def stub(self, name: str, script: str) -> None:
        """A stand-in for a program."""
        path = self.bin / name
        path.write_text(f"#!/bin/bash\n{script}\n")
        path.chmod(0o755)

    def run(self, workflow: dict[str, Any], part: str, **values: str) -> subprocess.CompletedProcess:
        """Run a step as the runner would; `values` replace the expressions of its environment."""
        one = step(workflow, part)
        environment = {name: str(value) for name, value in {**one["env"], **values}.items()}
        environment["GITHUB_OUTPUT"] = str(self.temp / "output")
        environment["GITHUB_STEP_SUMMARY"] = str(self.temp / "summary.md")
        environment |= {"RUNS": str(self.temp / "runs")} if "RUNS" in environment else {}
        unknown = [name for name, value in environment.items() if "${{" in value]
        assert not unknown, f"this test must say what {unknown} are"
        environment |= {"RUNNER_TEMP": str(self.temp), "PATH": f"{self.bin}:{os.environ['PATH']}"}
        environment = {**os.environ, "PYTHONPATH": str(self.folder), **environment}
        shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", one["run"]]
        return subprocess.run(
            shell, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=600
        )

    def outputs(self) -> dict[str, str]:
        """What the steps so far have told the next ones."""
        lines = (self.temp / "output").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)


SETTINGS = {"PROFILE": "smoke", "DATA": "simulated", "FRESH": "false", "JOB": "1"}
CHOOSE = {"CPU_PROFILE": "smoke", "GH_TOKEN": "none", "GH_REPO": "us/course"}


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    if sys.platform != "linux":
        pytest.skip("the runners of these workflows are Linux")
    return Scratch(tmp_path_factory.mktemp("workflows"))


@pytest.fixture(scope="module")
def with_gpu(scratch: Scratch) -> dict[str, str]:
    """What makes the check of PyTorch meet a stand-in; `where`, in the same step, needs no torch."""
    stand_in = scratch.temp / "torch" / "torch.py"
    write_text(stand_in, "class cuda:\n    get_device_name = staticmethod(lambda i: 'Test GPU')\n")
    return {"PYTHONPATH": f"{stand_in.parent}:{scratch.folder}"}


@pytest.fixture(scope="module")
def rehearsed(scratch: Scratch) -> dict[str, subprocess.CompletedProcess]:
    """The steps of the rehearsal at smoke, from a job that is killed on."""
    parts = ("outside the workspace", "is killed", "finishes")
    return {part: scratch.run(REHEARSAL, part, PROFILE="smoke") for part in parts}


@pytest.fixture(scope="module")
def ran(
    rehearsed: dict, scratch: Scratch, with_gpu: dict[str, str]
) -> dict[str, subprocess.CompletedProcess]:
    """The steps of the full run, one after the other, going on with what the rehearsal has left."""
    scratch.stub("nvidia-smi", "echo 'Test GPU, 81559 MiB, 580.1'")
    done = {}
    for one in job(GPU)["steps"]:
        if "run" in one:
            values = dict(with_gpu) if one.get("id") == "plan" else {}
            values |= {"FOLDER": scratch.outputs()["folder"]} if "FOLDER" in one.get("env", {}) else {}
            done[one["name"]] = scratch.run(GPU, one["name"], **SETTINGS, **values)
            if one.get("id") == "plan":
                shutil.copytree(scratch.temp / "run", scratch.outputs()["folder"])
    return done


@pytest.mark.kill
def test_a_rehearsal_that_is_killed_goes_on_to_its_end_and_then_does_what_a_full_run_does(rehearsed, scratch):
    assert {part: d.stdout + d.stderr for part, d in rehearsed.items() if d.returncode} == {}
    assert rehearsed["is killed"].stdout.endswith("killed\n")
    assert (scratch.temp / "run" / "results.jsonl").is_file()
    last = step(REHEARSAL, "Build the book")["run"].splitlines()
    assert last == [step(GPU, part)["run"] for part in ("Build the book", "Times and changed")]


def test_every_shell_step_of_the_full_run_works(ran, scratch):
    assert {name: d.stdout[-2000:] + d.stderr[-2000:] for name, d in ran.items() if d.returncode} == {}
    assert ran["A GPU must be there"].stdout.startswith("Test GPU")
    run = scratch.folder / "runs" / "smoke"
    assert run.resolve() == scratch.temp / "runs" / "smoke"
    assert all((run / f"{stem}.ipynb").is_file() for stem in CHAPTERS) and (run / "results.jsonl").is_file()
    assert (scratch.folder / "book" / "_build" / "html" / "book" / "status.html").is_file()
    assert "No release of profile smoke yet" in ran["Compare the results with the last release"].stdout
    state = read_json(run / "status.json")
    assert state["machine"]["cores"] >= 1 and "torch" in state["versions"]
    assert re.fullmatch("[0-9a-f]{9}", state["commit"])
    text = (scratch.temp / "summary.md").read_text()
    assert "## Run at profile smoke" in text and "no number here is a result" in text
    assert all(f"| {stem} | done |" in text for stem in CHAPTERS)


def test_a_fresh_run_empties_its_own_folder_and_no_other(scratch, tmp_path):
    old, other = tmp_path / "gpu-data", tmp_path / "gpu-others"
    for folder in (old, other):
        write_text(folder / "results.jsonl", "")
    for fresh, left in (("false", True), ("true", False)):
        values = {**SETTINGS, "PROFILE": "gpu", "FRESH": fresh, "FOLDER": str(old)}
        assert scratch.run(GPU, "Take up the run folder", **values).returncode == 0
        assert (scratch.folder / "runs" / "gpu" / "results.jsonl").exists() is left
    assert (other / "results.jsonl").exists()
    (scratch.folder / "runs" / "gpu").unlink()


def test_without_a_gpu_or_with_one_that_pytorch_cannot_use_nothing_runs_and_it_is_said_what_to_set(scratch):
    for script in ("echo 'NVIDIA-SMI has failed: no driver'; exit 9", "exit 0"):
        scratch.stub("nvidia-smi", script)
        done = scratch.run(GPU, "A GPU must be there", **SETTINGS)
        assert done.returncode == 1 and "GPU_RUNNER" in done.stdout
    done = scratch.run(GPU, "PyTorch must see", **SETTINGS, CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 1 and "::error title=No GPU for PyTorch::" in done.stdout


def test_missing_data_are_named_before_anything_runs(scratch, with_gpu):
    settings = {**SETTINGS, "DATA": "/no/such/folder; touch pasted"}
    done = scratch.run(GPU, "PyTorch must see", **settings, **with_gpu)
    assert done.returncode == 1 and "/no/such/folder; touch pasted" in done.stderr
    assert not (scratch.folder / "pasted").exists()


def test_a_job_that_goes_on_with_a_run_that_is_not_there_says_so(scratch, tmp_path):
    """A rented machine forgets its disk: every job would begin anew, and none would end."""
    values = {**SETTINGS, "JOB": "2", "FOLDER": str(tmp_path / "gone")}
    done = scratch.run(GPU, "Take up the run folder", **values)
    assert done.returncode == 1 and "::error title=The run is gone::" in done.stdout


def test_an_unfinished_run_asks_for_its_next_job_and_a_pull_request_is_told_how(scratch):
    scratch.stub("gh", 'echo "$*"')
    about = {"GH_TOKEN": "none", "GH_REPO": "us/course", "REF": "main", "COMMIT": "0123abc"}
    about |= {"PROFILE": "paper", "DATA": "/data", "JOB": "7", "EVENT": "workflow_dispatch"}
    done = scratch.run(GPU, "Ask for the next job", **about)
    inputs = "-f profile=paper -f data=/data -f fresh=false -f commit=0123abc -f job=8"
    assert done.returncode == 0 and done.stdout == f"workflow run gpu.yml --ref main {inputs}\n"
    assert set(re.findall(r"(\w+)=", inputs)) == set(GPU[True]["workflow_dispatch"]["inputs"])
    for never in ({"EVENT": "pull_request"}, {"JOB": "100"}):
        done = scratch.run(GPU, "Ask for the next job", **{**about, **never})
        assert done.returncode == 1 and "gpu.yml" not in done.stdout


HERE = '[[ "$*" = *"--run-dir runs/$PROFILE "* ]] || exit 9'  # whatever the data
SAVES = "sleep 0.2; touch runs/paper/metrics.csv"
FAILS = "sleep 0.2; touch runs/paper/.running-03.ipynb runs/paper/03.failed.ipynb; sleep 60"


@on_a_runner
@pytest.mark.parametrize(
    ("course", "status", "says"),
    [
        ("exit 0", 0, "state=finished"),
        ("exit 3", 3, "::warning::"),
        (f"trap 'exit 130' TERM; {SAVES}; sleep 60 & wait", 0, "state=unfinished"),
        (f"trap '' TERM; {SAVES}; while :; do sleep 0.2; done", 0, "state=unfinished"),
        (FAILS, 1, "::error title=No progress::"),
    ],
)
def test_a_job_ends_with_what_the_course_did_in_its_minutes(tmp_path, course, status, says):
    for folder in ("scripts", "runs/paper", ".venv/bin"):
        (tmp_path / folder).mkdir(parents=True)
    script = shutil.copy(ROOT / "scripts" / "full_run.sh", tmp_path / "scripts")
    program, output = tmp_path / ".venv" / "bin" / "eo-ssl", tmp_path / "output"
    program.write_text(f"#!/bin/bash\n[ $1 = data ] && exit 1\n{HERE}\n{course}\n")
    program.chmod(0o755)
    limits = {"MINUTES": "0.05", "GRACE": "1s", "GITHUB_OUTPUT": str(output)}
    environment = {**os.environ, **limits, "PROFILE": "paper", "DATA": "/data"}
    done = subprocess.run([script], env=environment, capture_output=True, text=True)
    assert done.returncode == status and says in done.stdout
    assert (output.read_text() if output.exists() else "") == (f"{says}\n" if status == 0 else "")


def choose(scratch: Scratch, gh: str) -> str:
    """The profile that is published when `gh` answers so."""
    scratch.stub("gh", gh)
    (scratch.temp / "output").unlink(missing_ok=True)
    done = scratch.run(PAGES, "Take the last full run", **CHOOSE)
    assert done.returncode == 0, done.stdout + done.stderr
    return scratch.outputs()["profile"]


def listing(artifact: Path) -> str:
    """A `gh` that knows run 7 and hands out this folder as its artifact."""
    return f'if [ "$2" = list ]; then echo 7; else mkdir -p "$7" && cp -r {artifact}/. "$7"; fi'


@pytest.mark.parametrize("gh", ["exit 0", "exit 1", "[ $2 = list ] && echo 7 && exit 0; exit 1"])
def test_without_a_full_run_the_book_is_executed_on_the_cpu(scratch, gh):
    assert choose(scratch, gh) == "smoke"


def test_a_finished_full_run_is_taken_and_a_smoke_run_in_its_place_is_not(
    ran, scratch, tmp_path, monkeypatch
):
    shutil.copytree(scratch.folder / "runs" / "smoke", tmp_path / "smoke" / "runs" / "gpu")
    assert "--same-sources" in step(PAGES, "Take the last full run")["run"]
    assert choose(scratch, listing(tmp_path / "smoke")) == "smoke"
    monkeypatch.setattr(session, "project_root", lambda *_: scratch.folder)  # whose chapters are finished
    finish(tmp_path / "gpu" / "runs" / "gpu", "gpu")
    assert choose(scratch, listing(tmp_path / "gpu")) == "gpu"
    assert read_json(scratch.folder / "runs" / "gpu" / "status.json")["profile"] == "gpu"


def test_every_shell_step_of_publishing_works_and_a_smoke_run_is_refused(ran, scratch):
    assert scratch.run(PAGES, "Install").returncode == 0
    done = scratch.run(PAGES, "Run the course", **CHOOSE)
    assert done.returncode == 0 and done.stderr.count("up to date") == len(CHAPTERS), done.stderr
    before = (scratch.folder / "book" / "_build" / "html" / "index.html").stat().st_mtime_ns
    done = scratch.run(PAGES, "Build the book", PROFILE="smoke", **CHOOSE)
    assert done.returncode == 1 and "is no evidence and never a result" in done.stderr
    assert (scratch.folder / "book" / "_build" / "html" / "index.html").stat().st_mtime_ns == before


# ---- links -------------------------------------------------------------------------------------------------


def test_addresses_that_are_gone_are_found_and_those_that_only_refuse_programs_are_not(tmp_path, capsys):
    spec = importlib.util.spec_from_file_location("check_links", ROOT / "scripts" / "check_links.py")
    links = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(links)

    def answer(request: Request, timeout: float) -> nullcontext:
        if not (code := request.full_url[-3:]).isdigit():
            raise URLError("no such host")
        if code >= "400":
            raise HTTPError(request.full_url, int(code), "", {}, None)
        return nullcontext()

    links.urlopen, links.problem = answer, partial(links.problem, pause=0)
    page, at = tmp_path / "page.md", "https://a.org"
    page.write_text(
        f'[one]({at}/200), <{at}/403>. See {at}/404.\n"{at}/410\\n", {at}/host {at}/x{{gap}} {at}'
    )
    assert links.main([str(page), str(tmp_path / "none")]) == 1
    gone = re.findall(r"::error file=\S+page.md::(\S+): ", capsys.readouterr().out)
    assert gone == [f"{at}/404", f"{at}/410", f"{at}/host", at]
    assert links.addresses([ROOT / "book" / "_config.yml"]) == {}, "an example is no address"
    page.write_text(f'{at}/200 {at}/403 xmlns="http://www.w3.org/2000/svg"')
    assert links.main([str(page)]) == 0
