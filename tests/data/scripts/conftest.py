"""A folder to write to, and a server on this machine that can be good or bad."""

import http.server
import threading
from pathlib import PurePosixPath
from urllib.parse import urlsplit

import pytest


@pytest.fixture
def out(tmp_path, monkeypatch):
    monkeypatch.delenv("MINIFL_DATA", raising=False)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves server.files; the server's `ranges`, `cut` and `lie` say how well it does so."""

    def do_GET(self):
        server, begin = self.server, 0
        asked = self.headers.get("Range")
        server.asked.append(asked)
        content = server.files.get(PurePosixPath(urlsplit(self.path).path).name)
        if content is None:
            return self.send_error(404)
        if asked and server.ranges:
            begin = int(asked.removeprefix("bytes=").removesuffix("-"))
            if begin >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "5")
                self.end_headers()
                return self.wfile.write(b"sorry")
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin + server.lie}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        if server.says_length:
            self.send_header("Content-Length", str(len(content) - begin))
        self.end_headers()
        self.wfile.write(content[begin:server.cut])

    def log_message(self, *args):
        pass


@pytest.fixture
def serve(out):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.files, server.asked, server.ranges = {}, [], True
    server.cut, server.lie, server.says_length = None, 0, True
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs=dict(poll_interval=0.01))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()
