"""Shared by all tests: the smoke course is long, so the worker that runs it starts first."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the course and the book first; with several workers the rest runs beside them."""
    items.sort(key=lambda item: item.get_closest_marker("course") is None)
