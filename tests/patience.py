"""How long a test waits for what should happen soon."""

PATIENCE_SECONDS = 120
"""On a machine that has other work everything takes several times as long, and only a failing test waits to the end.

What a promise gives a number of seconds for is waited for that long instead.
"""
