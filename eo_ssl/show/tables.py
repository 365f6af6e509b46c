"""A small HTML table for pages and a plain one for terminals: caption, row headings, sections, **bold** cells."""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

from eo_ssl.show.words import minus


@dataclass(frozen=True)
class Table:
    """Rows of text under `head`; the first cell of a row is its heading, a row of one cell opens a section.

    >>> Table(("Method", "AA"), (("one label",), ("Late fusion", "**62**")), "Scores.")
    Scores.
    Method | AA
    one label
    Late fusion | 62
    """

    head: tuple[str, ...]
    rows: tuple[Sequence[str], ...]
    caption: str = ""
    wide: tuple[int, ...] = ()  # columns of prose, set to the left
    dense: bool = False  # small type and little space, for many columns

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        lines = [self.caption] if self.caption else []
        lines += [" | ".join(row).replace("**", "") for row in (self.head, *self.rows)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col"{self._side(i)}>{_inline(c)}</th>' for i, c in enumerate(self.head))
        body = "".join(f"<tr>{self._row(row)}</tr>" for row in self.rows)
        caption = (
            f'<caption style="caption-side:top;text-align:left">{_inline(self.caption)}</caption>'
            if self.caption
            else ""
        )
        small = ' style="font-size:0.8rem"' if self.dense else ""
        table = f'<table class="dataframe"{small}>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        # A wide table scrolls by itself, by keyboard too; the page does not.
        label = html.escape(self.caption or ", ".join(self.head), quote=True)
        return f'<div role="region" tabindex="0" aria-label="{label}" style="overflow-x:auto">{table}</div>'

    def _row(self, row: Sequence[str]) -> str:
        if len(row) == 1:
            return f'<th scope="colgroup" colspan="{len(self.head)}" style="text-align:left">{_inline(row[0])}</th>'
        first = f'<th scope="row" style="text-align:left;font-weight:400{self._space}">{_inline(row[0])}</th>'
        return first + "".join(f"<td{self._side(i)}>{_inline(c)}</td>" for i, c in enumerate(row[1:], 1))

    def _side(self, column: int) -> str:
        left = column == 0 or column in self.wide
        return f' style="{"text-align:left" if left else "white-space:nowrap"}{self._space}"'

    @property
    def _space(self) -> str:
        return ";padding:0.2rem 0.35rem" if self.dense else ""


def _inline(text: str) -> str:
    """Escaped text with **bold**, true minus signs, and no line break inside "≈ 62 ± 4 %"."""
    safe = minus(html.escape(str(text)))
    safe = re.sub(r"(?<=[≈±†\d]) (?=[±%\d])", "\u00a0", safe)  # numbers and their signs stay on one line
    return re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", safe)
