"""Errors a user can act on: each message names the file, band or parameter and the fix."""


class EOError(Exception):
    """Base of all errors that the command line prints as one line instead of a traceback."""


class ConfigError(EOError):
    """A setting, parameter or profile that does not exist or does not fit the others."""


class DataError(EOError):
    """A file, folder or array that is missing, broken or not in the expected format."""


class CheckpointError(EOError):
    """A checkpoint that is broken or belongs to another model, band set or method."""
