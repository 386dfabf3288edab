"""A job that does nothing: what a queue costs by itself."""


def do_nothing() -> None:
    """Return."""
