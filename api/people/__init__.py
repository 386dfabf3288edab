"""People's data: profiles, erasure, export, suppression."""
