"""The sortable table in a browser with no kernel: right rows in the right order, by mouse and by keyboard."""

import pandas as pd
import pytest

from eo_ssl.errors import ConfigError
from eo_ssl.experiments.tables import in_order
from eo_ssl.show.widgets_results import results_table

ROWS = [
    ("single", "late", 1.0, 0.60, 0.5, 0.7, "aa"),
    ("single", "dual-frozen", 0.1, 0.65, 0.62, 0.68, "aa"),
    ("single", "dual-frozen", 1.0, 0.70, 0.55, 0.75, "aa"),
    ("segment", "ensemble", 1.0, 0.30, 0.2, 0.4, "miou"),
]


@pytest.fixture(scope="module")
def widget():
    names = ("task", "method", "fraction", "mean", "low", "high", "metric")
    table = in_order([dict(zip(names, row)) for row in ROWS])
    labels = {"late": "Late fusion", "dual-frozen": "Dual-SimCLR, frozen", "ensemble": "UNet + SwinUNet"}
    table["label"] = table["method"].map(labels)
    table["seeds"], table["values"] = 3, [[0.6, 0.61, 0.62]] * len(table)
    table["n_labels"] = [float("nan") if m == "ensemble" else 40.0 for m in table["method"]]
    return results_table(table, "no evidence")


def shown(page) -> list[str]:
    return page.locator("tbody tr").evaluate_all(
        "rows => rows.map(r => `${r.cells[0].textContent} ${r.querySelector('[data-labels]').textContent}`)"
    )


@pytest.mark.browser
def test_it_opens_on_one_task_with_the_best_first_and_the_caution_above(opened, widget):
    page = opened(widget)
    assert shown(page) == [
        "Dual-SimCLR, frozen 100% (40)",
        "Dual-SimCLR, frozen 10% (40)",
        "Late fusion 100% (40)",
    ]
    assert "no evidence" in page.locator("#w").inner_text()
    assert "3 of 4 rows, by score, %, largest first" in page.locator("[role=status]").inner_text()


@pytest.mark.browser
def test_headings_sort_by_keyboard_and_say_so(opened, widget):
    page = opened(widget)
    page.locator("thead button").first.focus()
    page.keyboard.press("Enter")
    assert shown(page)[-1].startswith("Late fusion")
    assert page.locator("thead th").first.get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Space")
    assert shown(page)[0].startswith("Late fusion")
    assert page.locator("thead th").first.get_attribute("aria-sort") == "descending"
    page.get_by_role("button", name="interval").click()
    assert shown(page)[-1] == "Dual-SimCLR, frozen 10% (40)"  # the narrowest
    assert page.locator("thead th").first.get_attribute("aria-sort") == "none"


@pytest.mark.browser
def test_filters_narrow_and_together(opened, widget):
    page = opened(widget)
    page.get_by_label("start").select_option("from scratch")
    assert shown(page) == ["Late fusion 100% (40)"]
    page.get_by_label("start").select_option("all")
    page.get_by_label("labels", exact=True).select_option("0.1")
    assert shown(page) == ["Dual-SimCLR, frozen 10% (40)"]
    page.get_by_label("task", exact=True).select_option("all")
    page.get_by_label("labels", exact=True).select_option("all")
    assert len(shown(page)) == 4 and "do not compare" in page.locator("[role=status]").inner_text()
    page.get_by_label("method contains").fill("unet +")
    assert shown(page) == ["UNet + SwinUNet 100%"]


@pytest.mark.browser
def test_every_control_has_a_name_and_the_pane_scrolls_by_keyboard(opened, widget):
    page = opened(widget)
    assert page.locator("select:not([aria-label]), input:not([aria-label]), button:empty").count() == 0
    assert page.locator("[role=region]").get_attribute("tabindex") == "0"


def test_state_is_plain_small_and_an_empty_table_is_refused(widget, page_size):
    assert page_size(widget) < 20_000 and widget.rows[0]["start"] == "from scratch"
    assert {row["labels"] for row in widget.rows} == {40, None}
    with pytest.raises(ConfigError, match="nothing was measured"):
        results_table(pd.DataFrame())
