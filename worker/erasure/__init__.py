"""The erasure stage: customers that are forgotten."""
