"""Checks for frozen dataclasses of settings: unknown names, wrong types and values out of range, each in one
line."""

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from eo_ssl.errors import ConfigError, nearest


def coerce(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Check names and convert values to the types of the fields of dataclass `cls`; raises `ConfigError`."""
    types = {field.name: field.type for field in fields(cls)}
    converted = {}
    for key, value in values.items():
        if key not in types:
            raise ConfigError(f"{cls.__name__} has no field {key!r}{nearest(key, types)}")
        converted[key] = _convert(key, value, types[key])
    return converted


def _convert(key: str, value: Any, kind: Any) -> Any:
    """`value` as `kind` if nothing is lost by it: "3" and 3.0 are the integer 3, 2.5 is not."""
    if kind is bool and str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    if kind in (int, float) and not isinstance(value, bool):
        try:
            number = kind(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if math.isfinite(number) and (isinstance(value, str) or number == value):
            return number
    if kind is str and isinstance(value, str):
        return value
    raise ConfigError(f"{key} takes a value of type {kind.__name__}, not {value!r}")


def positive(config: Any, *names: str) -> None:
    """Raise `ConfigError` unless each named field is greater than 0."""
    for name in names:
        if not getattr(config, name) > 0:
            raise ConfigError(f"{name} must be greater than 0, not {getattr(config, name)!r}")


def not_negative(config: Any, *names: str) -> None:
    """Raise `ConfigError` unless each named field is 0 or more."""
    for name in names:
        if not getattr(config, name) >= 0:
            raise ConfigError(f"{name} must be 0 or more, not {getattr(config, name)!r}")


def one_of(config: Any, name: str, allowed: tuple[str, ...]) -> None:
    """Raise `ConfigError` unless the named field is one of `allowed`."""
    if getattr(config, name) not in allowed:
        raise ConfigError(
            f"{name} must be one of {', '.join(allowed)}, not {getattr(config, name)!r}"
            f"{nearest(getattr(config, name), allowed)}"
        )
