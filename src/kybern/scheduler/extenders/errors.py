"""What every conversation with an extender may end in; light, for those that only catch it."""


class ExtenderError(Exception):
    """The extender did not answer, or with an error, or with something else than an answer."""
