"""A small HTML table for pages and a plain one for terminals: caption, row headings, sections, **bold**, *slanted*."""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

from eo_ssl.show.words import minus

BOLD = re.compile(r"\*\*(.+?)\*\*")
SLANTED = re.compile(r"(?<![\w*])\*(?=\S)([^*]+)(?<=\S)\*(?![\w*])")


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
        lines += [" | ".join(row) for row in (self.head, *self.rows)]
        return "\n".join(map(_plain, lines))

    def _repr_html_(self) -> str:
        space = ";padding:0.2rem 0.35rem" if self.dense else ""
        left, right = f'style="text-align:left{space}"', f'style="white-space:nowrap{space}"'
        sides = [left if i == 0 or i in self.wide else right for i in range(len(self.head))]
        head = "".join(f'<th scope="col" {side}>{_inline(c)}</th>' for c, side in zip(self.head, sides))
        body = ""
        for name, *cells in self.rows:
            kind = f'scope="row" style="text-align:left;font-weight:400{space}"'
            kind = kind if cells else f'scope="colgroup" colspan="{len(self.head)}" style="text-align:left"'
            row = "".join(f"<td {side}>{_inline(c)}</td>" for c, side in zip(cells, sides[1:]))
            body += f"<tr><th {kind}>{_inline(name)}</th>{row}</tr>"
        above = f'<caption style="caption-side:top;text-align:left">{_inline(self.caption)}</caption>'
        small = ' style="font-size:0.8rem"' if self.dense else ""
        label = html.escape(_plain(self.caption or ", ".join(self.head)), quote=True)
        # A wide table scrolls by itself, by keyboard too; the page does not.
        return (
            f'<div role="region" tabindex="0" aria-label="{label}" style="overflow-x:auto"><table class="dataframe"{small}>'
            f"{above if self.caption else ''}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        )


def _plain(text: str) -> str:
    """The text without the asterisks of **bold** and *slanted* words; those of a product stay.

    >>> _plain("*Smoke run:* **62** of 2 * 31 * 1")
    'Smoke run: 62 of 2 * 31 * 1'
    """
    return SLANTED.sub(r"\1", BOLD.sub(r"\1", text))


def _inline(text: str) -> str:
    """Escaped text with **bold**, *slanted*, true minus signs, and no line break inside "≈ 62 ± 4 %"."""
    safe = minus(html.escape(str(text)))
    safe = re.sub(r"(?<=[≈±†\d]) (?=[±%\d])", "\u00a0", safe)  # numbers and their signs stay on one line
    return SLANTED.sub(r"<em>\1</em>", BOLD.sub(r"<b>\1</b>", safe))
