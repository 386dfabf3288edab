"""GET /docs: the OpenAPI document as a page, to read and to try calls on."""

import base64
import hashlib
import re

from fastapi import APIRouter, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse

_CDN = "https://cdn.jsdelivr.net/npm/swagger-ui-dist@5.35.0"
_SCRIPT, _STYLE = f"{_CDN}/swagger-ui-bundle.js", f"{_CDN}/swagger-ui.css"

# Of the files in the package of this version, as `openssl dgst -sha384 -binary FILE | base64` has it: a browser runs
# what the network serves only if it is that (https://www.w3.org/TR/sri/).
_INTEGRITY = {
    _SCRIPT: "sha384-gjRm0bEPMeTmMh5jT2cHccIwCUZSTd8YC+j0d0sXw0MdGEfScduGpSyF3ZSSLkX9",
    _STYLE: "sha384-WlYgdmXYOOBWL5apwjDEZwN+U3HmXSSu5R6V5aGxEcf7z+KuRNwBhoxKVN1i3D5I",
}


def _render() -> bytes:
    page = bytes(
        get_swagger_ui_html(
            openapi_url="openapi.json",
            title="Sales Signal Processing Platform",
            swagger_js_url=_SCRIPT,
            swagger_css_url=_STYLE,
            swagger_favicon_url="data:,",
        ).body
    )
    for url, digest in _INTEGRITY.items():
        quoted = f'"{url}"'
        page = page.replace(
            quoted.encode(), f'{quoted} integrity="{digest}" crossorigin="anonymous"'.encode()
        )
    return page


_page = _render()


def _content_security_policy() -> str:
    """Lets the page load what it consists of, ask this API, and nothing else: people type keys into it."""
    own_scripts = re.findall(rb"<script>(.*?)</script>", _page, re.DOTALL)
    hashes = (base64.b64encode(hashlib.sha256(script).digest()).decode() for script in own_scripts)
    scripts = " ".join(f"'sha256-{each}'" for each in hashes)
    return (
        f"default-src 'none'; script-src {_SCRIPT} {scripts}; style-src {_STYLE} 'unsafe-inline';"
        " img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


_HEADERS = {"Content-Security-Policy": _content_security_policy()}

router = APIRouter()


@router.get("/docs", include_in_schema=False)
async def show_docs() -> Response:
    """The page."""
    return HTMLResponse(_page, headers=_HEADERS)
