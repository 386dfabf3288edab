"""Event types as data: what a tenant's own schema may be, how its versions follow each other, where they are kept."""
