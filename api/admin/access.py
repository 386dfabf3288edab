"""Who may see to which tenant, and how the rules of `common.tenancy` are asked."""

from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from fastapi import Request

from api.access.auth import Principal
from api.database.management import management_of
from api.http.errors import Fault, ProblemError, not_found
from common.database.tenancy import PLATFORM_AFFAIR, of_tenant
from common.tenancy.errors import InvalidOriginError, TenantError
from common.tenancy.keys import ApiKeyError, InvalidKeyError, UnknownKeyError
from common.tenancy.tenants import Connection, UnknownTenantError

_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")

MAX_BODY_BYTES = 16 * 1024


def own_or_any(principal: Principal, slug: str) -> str:
    """`slug`, if the key's owner may see to this tenant: to any with the scope ``admin``, else to its own.

    Raises:
        ProblemError: 404; to the others it is as if there were no such tenant.
    """
    if principal.may("admin") or slug == principal.tenant:
        return slug
    raise _no_tenant()


async def ask(
    request: Request,
    principal: Principal,
    rule: Callable[Concatenate[Connection, _Arguments], _Answer],
    *args: _Arguments.args,
    **kwargs: _Arguments.kwargs,
) -> _Answer:
    """What `rule`, a function of `common.tenancy`, answers when called with a connection and the arguments.

    It runs in a thread and in one transaction, which sees all tenants if the key has the scope ``admin``, else its own.

    Raises:
        ProblemError: 404, there is no such tenant or key; 422, no tenant or key can be like that; 409, this one cannot.
        DatabaseUnavailableError: PostgreSQL is away or busy.
    """
    tenancy = PLATFORM_AFFAIR if principal.may("admin") else of_tenant(principal.tenant_id)
    try:
        return await management_of(request).ask(tenancy, rule, *args, **kwargs)
    except UnknownTenantError:
        raise _no_tenant() from None
    except UnknownKeyError:
        raise not_found("the tenant has no usable key with this prefix") from None
    except (InvalidOriginError, InvalidKeyError) as error:
        faults = [Fault(error.detail, pointer=error.path)]
        raise ProblemError(422, "invalid_request", error.detail, errors=faults) from None
    except (TenantError, ApiKeyError) as error:
        raise ProblemError(409, error.code, error.detail) from None


def _no_tenant() -> ProblemError:
    return not_found("no tenant has this slug")
