"""Upkeep of the stores: partitions, retention, what is done with."""
