"""`eo-ssl data …`: fetch the samples, simulate, check and pack data sets."""

import json
from dataclasses import asdict
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from eo_ssl.data.check import Report
    from eo_ssl.data.store import StoreSource

app = typer.Typer(help="Fetch, simulate, check and pack data.", no_args_is_help=True)
Root = Annotated[Path, typer.Argument(help="Folder with the ROIs… folders, or the name of a data set.")]
_SHOWN = 5
_FEW = 400  # patches below which starting processes takes longer than the work


@app.command()
def fetch(
    names: Annotated[
        list[str] | None, typer.Argument(help="ben-ge-800, ben-ge-8k or dfc2020; without a name the samples.")
    ] = None,
) -> None:
    """Fetch real data, verify and unpack them into the cache: the small samples (100 MB), or data sets by name."""
    from eo_ssl.data import fetch as fetching

    got = {name: fetching.fetch_set(name) for name in names} if names else fetching.fetch()
    for name, path in got.items():
        typer.echo(f"{name}: ready in {path}")


@app.command()
def simulate(
    out: Annotated[Path, typer.Argument(help="Folder to write to; it is created.")],
    profile: Annotated[str, typer.Option(help="smoke, laptop, gpu or paper.")] = "laptop",
    seed: Annotated[int, typer.Option(help="The same version, profile and seed give the same bytes.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes; 0 means one a core.", min=0)] = 0,
    scheduler: Annotated[str, typer.Option(help="Address of a Dask scheduler to work on instead.")] = "",
) -> None:
    """Write the simulated data set; run it again to finish an interrupted one."""
    from eo_ssl.simulate import simulate as write

    root = write(out, profile, seed, workers, scheduler)
    typer.echo(f"simulated data set ({profile}) in {root}")


@app.command()
def check(
    root: Root,
    sample: Annotated[int | None, typer.Option(min=1, help="Open only this many, drawn at random.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads; one a core if not given.")] = None,
) -> None:
    """Open the patches of a data root and report what is missing or broken; status 0: training can start.

    A packed store is compared with its checksums.
    """
    from eo_ssl.data import store
    from eo_ssl.data.check import check as run
    from eo_ssl.data.fetch import root_of

    root = root_of(root)
    if store.is_store(root):
        problems = store.verify(root)
        if not problems:
            _require_trainable(store.StoreSource(root))
        verdict = "NOT OK: pack again" if problems else "ok: all patches match their checksums"
        said = {"root": str(root), "problems": problems, "ok": not problems}
        text = [*problems, f"{root}: {verdict}"]
    else:
        report = run(root, sample, workers)
        said, text = asdict(report) | {"ok": report.ok}, lines(report)
    typer.echo(json.dumps(said, indent=2, ensure_ascii=False) if as_json else "\n".join(text))
    raise typer.Exit(0 if said["ok"] else 1)


@app.command()
def pack(
    root: Root,
    store: Annotated[Path, typer.Argument(help="Folder of the store to write.")],
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one a core if not given.")] = None,
    scheduler: Annotated[str, typer.Option(help="Address of a Dask scheduler, tcp://host:8786.")] = "",
) -> None:
    """Pack a data root into a memory-mapped store; run it again after an interruption and it goes on."""
    from eo_ssl.data import store as packing
    from eo_ssl.data.catalog import find
    from eo_ssl.data.fetch import root_of
    from eo_ssl.parallel import executor

    root = root_of(root)
    found = find(root)
    few = workers is None and len(found) < _FEW
    with executor(1 if few else workers or 0, scheduler) as pool:
        packing.pack(root, store, pool, found)
    source = packing.StoreSource(store)
    size = sum(path.stat().st_size for path in store.glob("*.npy"))
    typer.echo(f"{source.report()}\n{store}: {size / 1e6:,.0f} MB")
    _require_trainable(source)


def _require_trainable(source: "StoreSource") -> None:
    from eo_ssl.data.check import require_trainable, tasks_of

    for task in tasks_of(source.catalog):
        require_trainable(source, task=task)


def lines(report: "Report") -> list[str]:
    """The report as a table for people."""
    out = [f"{report.root}: {report.patches} patches, {report.checked} opened", ""]
    out += [f"  {name:<22}{count:>9,}" for name, count in report.counts.items()]
    order = attrgetter("severity", "kind")
    for (severity, kind), group in groupby(sorted(report.problems, key=order), order):
        same = list(group)
        out += ["", f"  {severity:<11}{kind:<18}{len(same):>7,}"]
        out += [f"    {problem.id}: {problem.message}" for problem in same[:_SHOWN]]
        out += [f"    and {len(same) - _SHOWN} more (--json lists all)"] * (len(same) > _SHOWN)
    out += ["", *(f"  note: {note}" for note in report.notes), ""]
    verdict = "training can start" if report.ok else "fix or remove what is fatal, then check again"
    return [*out, f"{'ok' if report.ok else 'NOT OK'}: {verdict}"]
