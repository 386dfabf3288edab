"""Backups that restore: taken from one snapshot, described by a manifest, kept in a store, proved by a drill."""
