"""Why something about a tenant cannot be."""

from common.errors import SsppError


class TenantError(SsppError):
    """There is no such tenant, or what is asked of it cannot be."""

    code = "tenant_error"
