"""HTTP itself: the protocol, bodies, errors, pages, and the OpenAPI document."""
