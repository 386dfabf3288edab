"""The platform at a glance: what `sspp status` shows."""
