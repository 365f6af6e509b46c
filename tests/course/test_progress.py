"""The progress bar: over all cells of all chapters, with time left."""

import io
import re

from eo_ssl.course.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def percentages(text):
    return [int(p) for p in re.findall(r"(\d+)%", text)]


def test_on_a_terminal_the_bar_names_the_cell_and_counts_to_the_end():
    stream = Terminal()
    with Progress({"00_a": [1.0, 3.0], "01_b": [4.0]}, stream) as progress:
        for stem, cells in (("00_a", 2), ("01_b", 1)):
            for index in range(cells):
                progress.cell(stem, index)
                progress.cell_done()
            progress.chapter_done(stem)
    text = stream.getvalue()
    assert "00_a · cell 2 of 2" in text and "left" in text
    seen = percentages(text)
    assert seen == sorted(seen) and {12, 50, 100} <= set(seen)


def test_elsewhere_there_are_only_lines():
    stream = io.StringIO()
    with Progress({"00_a": [1.0]}, stream) as progress:
        progress.cell("00_a", 0)
        progress.say("a line")
        progress.cell_done()
    assert stream.getvalue() == "a line\n"


def test_a_chapter_shorter_than_expected_still_moves_the_bar_to_its_end():
    stream = Terminal()
    with Progress({"00_a": [1.0, 1.0], "01_b": [2.0]}, stream) as progress:
        progress.cell("00_a", 0)
        progress.chapter_done("00_a")
    assert percentages(stream.getvalue())[-1] == 50
