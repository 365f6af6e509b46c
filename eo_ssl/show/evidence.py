"""The words in front of a result that the run is too short to carry."""

CAUTION = "*Smoke run, no evidence; the sentence only shows that it can be made:* "


def caution(evidence: bool) -> str:
    """What stands in front of a computed sentence: nothing where the run is evidence.

    >>> caution(True)
    ''
    """
    return "" if evidence else CAUTION
