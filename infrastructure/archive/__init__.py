"""Archives: what a month's partition held, as lines of JSON in a store, before it was dropped."""
