"""All families of connections that break the rules of HTTP, or stretch them; each input is a connection of its own.

A module with more of them is one more import here.
"""

from fuzzing import connection_bodies, connection_heads
from fuzzing.streams import CONNECTION_FAMILIES

__all__ = ["CONNECTION_FAMILIES", "connection_bodies", "connection_heads"]
