"""Demo data: the tenant ``demo`` with an event type of its own, to try things out on."""

from importlib.resources import files

from infrastructure.database.connections import connect


def seed(database_url: str) -> None:
    """Put the demo tenant and its event type in; what is there already stays as it is.

    Raises:
        DatabaseUnavailableError: the server cannot be reached.
    """
    script = files(__package__).joinpath("seed.sql").read_bytes()
    with connect(database_url) as connection, connection.transaction():
        connection.execute(script)
