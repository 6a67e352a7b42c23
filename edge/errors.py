"""The one error type that the command line turns into a single clear line."""


class HarkenError(Exception):
    """Something a person can mend: the message names the cause and the remedy in one line."""
