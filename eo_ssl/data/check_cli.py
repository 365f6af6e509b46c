"""`eo-ssl data check` and `eo-ssl data pack`."""

import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

Scale = Annotated[float | None, typer.Option(help="dB per step of integer S1 files.")]
Offset = Annotated[int | None, typer.Option(help="What was added to the S2 digital numbers: 0 or 1000.")]
_SHOWN = 5


def register(app: typer.Typer) -> None:
    """Add the commands `check` and `pack` to the sub-app."""
    app.command("check")(check)
    app.command("pack")(pack)


def check(
    root: Annotated[Path, typer.Argument(help="Folder with the ROIs… folders.")],
    sample: Annotated[int | None, typer.Option(min=1, help="Open only this many, drawn at random.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads; one a core if not given.")] = None,
    s1_scale: Scale = None,
    s2_offset: Offset = None,
) -> None:
    """Open the patches of a data root and report what is missing or broken; status 0: training can start.

    A packed store is compared with its checksums.
    """
    from eo_ssl.data.check import check as run
    from eo_ssl.data.store import is_store

    if is_store(root):
        return _check_store(root, as_json)
    report = run(root, sample, workers, s1_scale, s2_offset)
    if as_json:
        typer.echo(json.dumps(report.to_dict(), indent=2, ensure_ascii=False))
    else:
        typer.echo("\n".join(lines(report)))
    raise typer.Exit(0 if report.ok else 1)


def _check_store(store: Path, as_json: bool) -> None:
    from eo_ssl.data.pack import verify

    problems = verify(store)
    if as_json:
        typer.echo(json.dumps({"root": str(store), "ok": not problems, "problems": problems}, indent=2))
    else:
        verdict = "NOT OK: pack again" if problems else "ok: all files match their checksums"
        typer.echo("\n".join([*problems, f"{store}: {verdict}"]))
    raise typer.Exit(1 if problems else 0)


def lines(report: Any) -> list[str]:
    """The report as a table for people."""
    out = [f"{report.root}: {report.patches} patches, {report.checked} opened", ""]
    out += [f"  {name:<22}{count:>9,}" for name, count in report.counts.items()]
    kinds = Counter((p.severity, p.kind) for p in report.problems)
    if kinds:
        out += ["", f"  {'severity':<11}{'finding':<18}{'count':>7}   examples"]
    for (severity, kind), count in sorted(kinds.items()):
        same = [p for p in report.problems if (p.severity, p.kind) == (severity, kind)]
        for i, problem in enumerate(same[:_SHOWN]):
            head = f"{severity:<11}{kind:<18}{count:>7}" if i == 0 else " " * 36
            out.append(f"  {head}   {problem.id}: {problem.message}")
        if count > _SHOWN:
            out.append(f"  {'':<36}   and {count - _SHOWN} more (--json lists all)")
    out += ["", *(f"  note: {note}" for note in report.notes), ""]
    verdict = "training can start" if report.ok else "fix or remove what is fatal, then check again"
    return [*out, f"{'ok' if report.ok else 'NOT OK'}: {verdict}"]


def pack(
    root: Annotated[Path, typer.Argument(help="Folder with the ROIs… folders.")],
    store: Annotated[Path, typer.Argument(help="Folder of the store to write.")],
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one a core if not given.")] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a dask.distributed scheduler, tcp://host:8786.")
    ] = None,
    verify: Annotated[bool, typer.Option(help="Compare every file with its checksum afterwards.")] = False,
    s1_scale: Scale = None,
    s2_offset: Offset = None,
) -> None:
    """Pack a data root into a memory-mapped store; run it again after an interruption and it goes on."""
    from eo_ssl.data import pack as packing
    from eo_ssl.errors import DataError

    packing.pack(root, store, workers, scheduler, s1_scale, s2_offset)
    problems = packing.verify(store) if verify else []
    if problems:
        raise DataError(
            f"{store}: {problems[0]}" + (f" and {len(problems) - 1} more" if problems[1:] else "")
        )
    size = sum(path.stat().st_size for path in (store / "shards").iterdir())
    typer.echo(f"{store}: {size / 1e6:,.0f} MB")
