"""The one error a person sees: what was found, what was expected, and the command or step that repairs it."""


class CodesageError(Exception):
    """A foreseen failure with a one-line message; the command line prints it without a traceback and exits with 2."""
