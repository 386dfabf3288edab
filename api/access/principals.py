"""Who may call: the parameters by which routes ask for a key's scope."""

from typing import Annotated

from fastapi import Depends

from api.access.auth import Principal, requires

Reader = Annotated[Principal, Depends(requires("read"))]
Administrator = Annotated[Principal, Depends(requires("tenant_admin"))]
Platform = Annotated[Principal, Depends(requires("admin"))]
