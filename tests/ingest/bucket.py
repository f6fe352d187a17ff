"""As much of S3's HTTP as the archive uses, in memory, so that obstore's own client runs against it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape, unescape


@dataclass
class Bucket:
    """objects: by key. broken: every request gets 503."""

    url: str = "s3://bucket/mails"
    endpoint: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    broken: bool = False


@contextmanager
def serving() -> Iterator[Bucket]:
    """A bucket at bucket.endpoint."""
    bucket = Bucket()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            if not bucket.broken:
                bucket.objects[self._key()] = data
            self._answer(200)

        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            if "list-type" in query:
                found = [key for key in sorted(bucket.objects) if key.startswith(query.get("prefix", [""])[0])]
                self._answer(200, _listing(found, bucket.objects))
            elif (data := bucket.objects.get(self._key())) is None:
                self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            else:
                self._answer(200, data)

        def do_DELETE(self) -> None:
            bucket.objects.pop(self._key(), None)
            self._answer(204)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            keys = [unescape(part.partition("</Key>")[0]) for part in body.split("<Key>")[1:]]
            for key in keys:
                bucket.objects.pop(key, None)
            deleted = "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
            self._answer(200, f"<DeleteResult>{deleted}</DeleteResult>".encode())

        def _key(self) -> str:
            return unquote(urlsplit(self.path).path).removeprefix("/bucket/")

        def _answer(self, status: int, body: bytes = b"") -> None:
            self.send_response(503 if bucket.broken else status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", '"1"')
            self.send_header("Last-Modified", "Sun, 01 Mar 2026 12:00:00 GMT")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    bucket.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield bucket
    finally:
        server.shutdown()
        server.server_close()


def _listing(keys: list[str], objects: dict[str, bytes]) -> bytes:
    parts = "".join(
        f'<Contents><Key>{escape(key)}</Key><LastModified>2026-03-01T12:00:00.000Z</LastModified><ETag>"1"</ETag>'
        f"<Size>{len(objects[key])}</Size></Contents>"
        for key in keys
    )
    return f"<ListBucketResult><IsTruncated>false</IsTruncated>{parts}</ListBucketResult>".encode()
