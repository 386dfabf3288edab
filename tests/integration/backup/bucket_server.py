"""A small S3-compatible server: what the platform asks of one. It knows whom it lets in, and checks every body."""

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape

ACCESS_KEY, REGION = "AKTEST", "eu-test-1"
_NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


@dataclass
class BucketServer:
    url: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    uploads: dict[str, dict[int, bytes]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    # Statuses that the next requests are answered with, whatever they ask.
    faults: list[int] = field(default_factory=list)
    # The number of a part that is never taken.
    refused_part: int = 0
    page: int = 1000


@contextmanager
def serving() -> Iterator[BucketServer]:
    state = BucketServer()

    class Handler(_Handler):
        server_state = state

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_state: BucketServer

    def log_message(self, *_: Any) -> None: ...

    def do_GET(self) -> None:
        self._serve()

    do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 - http.server names them

    def _serve(self) -> None:
        state = self.server_state
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        state.asked.append((self.command, self.path))
        if state.faults:
            self._answer(state.faults.pop(0), b"<Error><Code>SlowDown</Code></Error>")
        elif not self._is_let_in():
            self._answer(403, b"<Error><Code>InvalidAccessKeyId</Code></Error>")
        elif self.headers["x-amz-content-sha256"] != hashlib.sha256(body).hexdigest():
            self._answer(400, b"<Error><Code>XAmzContentSHA256Mismatch</Code></Error>")
        elif not parts.path.startswith("/backups"):
            self._answer(404, b"<Error><Code>NoSuchBucket</Code></Error>")
        else:
            self._do(unquote(parts.path.removeprefix("/backups").lstrip("/")), query, body)

    def _is_let_in(self) -> bool:
        """Whether the key and the region are known. The signature is the client library's own affair."""
        credential = re.search(r"Credential=([^/]+)/\d{8}/([^/]+)/s3/", self.headers["authorization"] or "")
        return credential is not None and credential.groups() == (ACCESS_KEY, REGION)

    def _do(self, key: str, query: dict[str, str], body: bytes) -> None:
        state = self.server_state
        match self.command, key, query:
            case "GET", "", {"list-type": "2"}:
                self._list(query)
            case "GET", _, _ if key in state.objects:
                self._answer(200, state.objects[key], **{"last-modified": "Sun, 22 Nov 2026 00:00:00 GMT"})
            case "GET", _, _:
                self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            case "POST", _, {"uploads": ""}:
                state.uploads[f"upload-{key}"] = {}
                self._answer(200, f"<R {_NAMESPACE}><UploadId>upload-{escape(key)}</UploadId></R>".encode())
            case "PUT", _, {"partNumber": number} if int(number) == state.refused_part:
                self._answer(400, b"<Error><Code>InvalidPart</Code></Error>")
            case "PUT", _, {"uploadId": upload, "partNumber": number}:
                state.uploads[upload][int(number)] = body
                self._answer(200, b"", etag=f'"{hashlib.md5(body).hexdigest()}"')
            case "POST", _, {"uploadId": upload}:
                sent = state.uploads.pop(upload)
                listed = [int(number) for number in re.findall(rb"<PartNumber>(\d+)<", body)]
                state.objects[key] = b"".join(sent[number] for number in listed)
                self._answer(200, f"<R {_NAMESPACE}><ETag>1</ETag></R>".encode())
            case "PUT", _, _:
                state.objects[key] = body
                self._answer(200, b"", etag='"1"')
            case "DELETE", _, {"uploadId": upload}:
                state.uploads.pop(upload, None)
                self._answer(204, b"")
            case _:
                state.objects.pop(key, None)
                self._answer(204, b"")

    def _list(self, query: dict[str, str]) -> None:
        state = self.server_state
        after = query.get("continuation-token", "")
        keys = sorted(key for key in state.objects if key.startswith(query.get("prefix", "")) and key > after)
        shown, more = keys[: state.page], keys[state.page :]
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(state.objects[key])}</Size>"
            "<LastModified>2026-11-22T00:00:00Z</LastModified></Contents>"
            for key in shown
        )
        token = f"<NextContinuationToken>{escape(shown[-1])}</NextContinuationToken>" if more else ""
        self._answer(200, f"<ListBucketResult {_NAMESPACE}>{contents}{token}</ListBucketResult>".encode())

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        if status != 204:
            self.wfile.write(body)
