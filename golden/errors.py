"""Errors that a user may cause. The command line turns them into one line and exit status 2."""


class UserError(ValueError):
    """Bad input: the message names the thing, what was found and what is accepted."""


class ConfigError(UserError):
    """A configuration that is unknown, incomplete or contradictory."""


class CapacityError(UserError):
    """A layer that does not fit a buffer or an accumulator."""


class FormatError(UserError):
    """A tensor, container or model that breaks its format."""
