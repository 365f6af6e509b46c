"""The course: `setup` opens a run, `checks` looks at exercises, `eo-ssl course run` runs the notebooks."""

from eo_ssl.course.session import Run, setup

__all__ = ["Run", "setup"]
