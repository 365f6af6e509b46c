"""Quiz questions in the page: plain HTML that opens by mouse or keyboard, with no script, no kernel and no network."""

import html
import re
import tomllib
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any

from eo_ssl.errors import DataError


def quiz(chapter: ModuleType) -> Any:
    """The questions of a chapter, from the file beside its module: those of `ch04` stand in `ch04.toml`."""
    from IPython.display import HTML

    path = Path(str(chapter.__file__)).with_suffix(".toml")
    return HTML(as_html(questions(path), path.stem))


def questions(path: Path) -> list[dict[str, Any]]:
    """Read a file of questions; raises `DataError` naming the file and the question that is not whole.

    Each `[[quiz]]` has `ask`, one `right` choice, and two `wrong` ones or more; a choice is a pair of texts: what
    one can choose, and the sentence that it is answered with.
    """
    found = tomllib.loads(path.read_text(encoding="utf-8"))["quiz"]
    for number, one in enumerate(found, 1):
        choices = [one.get("right"), *one.get("wrong", [])]
        paired = all(isinstance(c, list) and len(c) == 2 and all(c) for c in choices)
        if not (one.get("ask") and paired and len({c[0] for c in choices}) == len(choices) > 2):
            raise DataError(
                f"{path}, question {number}: give ask, right = [choice, why], and two or more different such pairs in wrong"
            )
    return found


def as_html(asked: list[dict[str, Any]], name: str) -> str:
    """Each choice folds open to its answer, and of one question only one is open at a time.

    The right choice has no fixed place: a checksum orders them, the same way in every run.
    """
    parts = []
    for number, one in enumerate(asked, 1):
        signs = {one["right"][0]: "✓ Right."} | {choice: "✗ Not quite." for choice, _ in one["wrong"]}
        group = f"{name}-question-{number}"
        order = {choice: zlib.crc32(f"{group} {choice}".encode()) for choice in signs}
        choices = sorted([one["right"], *one["wrong"]], key=lambda pair: order[pair[0]])
        parts.append(f'<div role="group" aria-labelledby="{group}">')
        parts.append(f'<p id="{group}"><b>{number}.</b> {_inline(one["ask"])}</p>')
        for choice, why in choices:
            answer = f"<p><b>{signs[choice]}</b> {_inline(why)}</p>"
            parts.append(f'<details name="{group}"><summary>{_inline(choice)}</summary>{answer}</details>')
        parts.append("</div>")
    return f'<section class="eo-quiz" aria-label="Quiz">{"".join(parts)}</section>'


def _inline(text: str) -> str:
    """Text as HTML, with `code` and *emphasis*."""
    coded = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))
    return re.sub(r"\*([^*\s][^*]*)\*", r"<em>\1</em>", coded)
