"""Ask every web address that some files name whether it is still there; status 1 if one is gone.

    git ls-files -z | xargs -0 python scripts/check_links.py

Gone is an address that answers 404 or 410, and a host that nobody knows or that does not answer three times. Any other
refusal (publishers turn programs away) says that something is there.
"""

import re
import sys
import time
from collections.abc import Iterable
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

ADDRESS = re.compile(r"https?://[^\s\"'<>()\[\]{}\\|`^*]+")
# The end of a sentence is no part of an address, nor are names of XML formats addresses.
NO_PART, NO_PAGES = ".,;:!?", ("http://www.w3.org/2000/", "http://www.w3.org/1999/")
HEADERS = {"User-Agent": "Mozilla/5.0 (compatible; link check of a course)"}


def addresses(paths: Iterable[Path]) -> dict[str, Path]:
    """Every address in the text of these files, with the first file that names it; patterns with a gap are left out."""
    found: dict[str, Path] = {}
    for path in paths:
        text = path.read_text(encoding="utf-8", errors="ignore") if path.is_file() else ""
        for match in ADDRESS.finditer(text):
            address = match[0].rstrip(NO_PART)
            whole = text[match.end() : match.end() + 1] != "{" and "." in address
            if whole and not address.startswith(NO_PAGES):
                found.setdefault(address, path)
    return found


def problem(address: str, tries: int = 3, pause: float = 5.0) -> str:
    """Why the address counts as gone, or "" if it does not."""
    reason = ""
    for attempt in range(tries):
        time.sleep(pause * attempt)
        try:
            with urlopen(Request(address, headers=HEADERS), timeout=30):
                return ""
        except HTTPError as error:
            return f"{error.code} {error.reason}" if error.code in (404, 410) else ""
        except (OSError, HTTPException) as error:
            reason = str(error)
    return reason


def main(names: list[str]) -> int:
    named = addresses(map(Path, names))
    gone = {address: reason for address in named if (reason := problem(address))}
    for address, reason in gone.items():
        print(f"::error file={named[address]}::{address}: {reason}")
    print(f"{len(named)} addresses, {len(gone)} gone")
    return bool(gone)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
