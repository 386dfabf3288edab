"""All families of bodies for POST /v1/events; a module with more of them is one more import here."""

from fuzzing import body_headers, body_texts
from fuzzing.posts import BODY_FAMILIES

__all__ = ["BODY_FAMILIES", "body_headers", "body_texts"]
