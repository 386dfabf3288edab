"""Why something about a tenant cannot be."""

from common.errors import SsppError


class TenantError(SsppError):
    """There is no such tenant, or what is asked of it cannot be."""

    code = "tenant_error"


class InvalidOriginError(TenantError):
    """An origin that no web page has; `path` is a JSON Pointer (RFC 6901) to it among what is asked."""

    code = "invalid_origin"

    def __init__(self, detail: str, path: str) -> None:
        super().__init__(detail)
        self.path = path
