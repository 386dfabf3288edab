"""All families of whole requests, on every route; a module with more of them is one more import here."""

from fuzzing import request_bodies, request_heads, request_queries
from fuzzing.calls import REQUEST_FAMILIES

__all__ = ["REQUEST_FAMILIES", "request_bodies", "request_heads", "request_queries"]
