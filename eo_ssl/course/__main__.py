"""`python -m eo_ssl.course …` is `eo-ssl course …`, for where installed commands are not on the path."""

import runpy
import sys

if __name__ == "__main__":
    sys.argv.insert(1, "course")
    runpy.run_module("eo_ssl.cli", run_name="__main__", alter_sys=True)
