"""Small tables: headings for readers of screens, bold without markup left over, nothing from a cell becomes HTML."""

from eo_ssl.show.tables import Table
from eo_ssl.show.words import caution

ROWS = (("section",), ("a <b>", "**-6**", "≈ 65.3 against 62 ± 4 % of all"))
TABLE = Table(("Method", "AA", "words"), ROWS, "A & B.", wide=(2,))


def test_rows_columns_and_sections_have_headings_the_region_a_name_and_the_plain_form_the_same_cells():
    page = TABLE._repr_html_()
    assert page.count('scope="col"') == 3 and page.count('scope="row"') == 1
    assert 'scope="colgroup" colspan="3"' in page and 'aria-label="A &amp; B."' in page
    assert 'tabindex="0"' in page
    assert str(TABLE).splitlines()[-1].startswith("a <b> | -6 | ≈ 65.3") and len(TABLE) == 2


def test_cells_are_escaped_bold_and_minus_are_set_and_a_number_keeps_its_signs():
    page = TABLE._repr_html_()
    assert "a &lt;b&gt;" in page and "<b>−6</b>" in page and "**" not in page
    assert "≈\u00a065.3 against 62\u00a0±\u00a04\u00a0% of all" in page


def test_a_caution_in_a_caption_is_slanted_on_the_page_and_bare_in_plain_text_and_in_the_name():
    table = Table(("Claim", "2 * 3"), (("*one*", "p*"),), f"{caution(False)}five **claims**.")
    page = table._repr_html_()
    assert "<em>Smoke run, not evidence:</em> five <b>claims</b>." in page and "<em>one</em>" in page
    assert 'aria-label="Smoke run, not evidence: five claims."' in page and "2 * 3" in page and "p*" in page
    assert str(table) == "Smoke run, not evidence: five claims.\nClaim | 2 * 3\none | p*"
