"""eo_ssl: self-supervised learning for Earth observation, a course you can run."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("eo_ssl")
except PackageNotFoundError:  # a plain checkout on the path, not installed
    __version__ = "0+unknown"
