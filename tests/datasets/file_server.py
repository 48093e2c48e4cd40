"""A server of files on this machine, in place of those of data sets."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from darts_mim.datasets.downloads import RemoteFile


class FileServer:
    """What it serves may change between requests.

    Attributes
    ----------
    url
        Base URL.
    files
        Contents by name; others are not found.
    cut
        Bytes of a file that are sent before the connection breaks; None sends all.
    requests
        Paths that were asked for.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.files: dict[str, bytes] = {}
        self.cut: int | None = None
        self.requests: list[str] = []


@contextmanager
def serving() -> Iterator[FileServer]:
    """Serve files until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.requests.append(self.path)
            content = server.files.get(self.path.strip("/"))
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: server.cut])
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = FileServer(f"http://127.0.0.1:{http.server_port}")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def published(name: str, content: bytes, base_url: str | None) -> RemoteFile:
    """Return a file as a registry lists it."""
    return RemoteFile(name, f"sha256:{hashlib.sha256(content).hexdigest()}", base_url)
