"""The grid on a cluster: a number of equal jobs, each of which takes free cells until none is left."""

from pathlib import Path
from typing import Any

from eo_ssl.errors import ConfigError
from eo_ssl.evaluate.job import GridJob
from eo_ssl.evaluate.label_fractions import worker

EXECUTORS = ("slurm", "local", "debug")


def submit_grid(
    job: GridJob, jobs: int, executor: str = "slurm", minutes: int = 240, **options: Any
) -> list[Any]:
    """Submit `jobs` workers through submitit and return its job objects.

    Workers share cells through locks in the run folder, which must lie on a file system that all nodes see
    and that has locks. A job that is killed or runs out of time costs at most the cell it was training;
    submit again to go on. `options` are submitit's (`slurm_partition`, `gpus_per_node`, `cpus_per_task`, …).

    Raises `ConfigError` when submitit is missing or the executor is unknown.
    """
    if executor not in EXECUTORS:
        raise ConfigError(f"executor must be one of {', '.join(EXECUTORS)}, not {executor!r}")
    try:
        import submitit
    except ImportError as error:
        raise ConfigError('the cluster needs submitit: pip install "eo_ssl[cluster]"') from error
    runner = submitit.AutoExecutor(folder=str(Path(job.run_dir) / "cluster" / "%j"), cluster=executor)
    runner.update_parameters(timeout_min=minutes, name="eo-ssl-grid", **options)
    shared = jobs if executor == "local" else 1  # on one machine they share its cores and GPUs
    return [runner.submit(worker, job, i % shared, shared) for i in range(jobs)]
