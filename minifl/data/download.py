"""Download over HTTP that can be interrupted and resumed, and checksums of files."""

import hashlib
import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from minifl import reading
from minifl.atomic import appending, make_folder
from minifl.errors import InputError

CHUNK = 1 << 18     # bytes between two reports of progress
TIMEOUT = 60        # seconds without a byte after which a connection counts as lost


def md5_of(path: str | Path) -> str:
    """md5 of the file at `path`, hexadecimal. It tells a damaged archive from a whole one, no more."""
    digest = hashlib.md5(usedforsecurity=False)
    with reading.opened(path) as f:
        while chunk := f.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def download(url: str, part: str | Path) -> Iterator[tuple]:
    """Load `url` into the file `part`, appending to what an earlier call left there.

    A generator: yields (bytes in the file so far, bytes of the whole or None where the server does not say),
    first of all when the answer begins. Raises InputError if the server refuses, or the connection ends
    early; `part` is then kept, and the next call asks for the rest. A server that cannot resume sends all
    again. Whether the bytes are right is for the caller to check: an earlier call may have left anything.
    """
    if not re.match("https?://", url):
        raise InputError(f"--url {url}: must begin with http:// or https://")
    part, total = Path(part), None
    done = size = _size_of_beginning(part)
    try:
        with _request(url, size) as response:
            done, total = _extent(response, size)
            yield done, total
            if done != total:
                with appending(part) as f:
                    f.truncate(done)
                    while chunk := response.read(CHUNK):
                        f.write(chunk)
                        done += len(chunk)
                        yield done, total
        if done == 0 or total is not None and done != total:
            raise ConnectionError("the connection ended early")
    except urllib.error.HTTPError as error:
        raise InputError(f"{url}: the server answers {error.code} {error.reason}; give another address with "
                         "--url, or what you have on disk with --from FILE_OR_FOLDER") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        again = f"the same command goes on from {part}" if done else "try again later"
        raise InputError(f"{url}: stopped after {done} of {total or 'unknown'} bytes ({reason}); {again}, "
                         "or give what you have with --from FILE_OR_FOLDER") from error
    finally:
        if part.exists() and part.stat().st_size == 0:
            part.unlink()


def _size_of_beginning(part):
    """Bytes in `part`, 0 for a new file. Raises InputError, before any loading, if it cannot be written."""
    make_folder(part.parent)
    with appending(part) as f:
        return f.tell()


def _request(url, size):
    """The open response to a request for the bytes from `size` on, or for all where there is no such rest."""
    if size:
        try:
            return _open(url, {"Range": f"bytes={size}-"})
        except urllib.error.HTTPError as error:
            if error.code != 416:       # 416: there is no rest, `part` is the whole or something else
                raise
            if error.headers.get("Content-Range") == f"bytes */{size}":
                return error            # an HTTPError is a response, too
            error.close()
    return _open(url, {})


def _open(url, headers):
    request = urllib.request.Request(url, headers={"User-Agent": "minifl", **headers})
    return urllib.request.urlopen(request, timeout=TIMEOUT)


def _extent(response, size):
    """(byte from which the response goes on, bytes of the whole or None), where `size` bytes were there."""
    if response.status == 416:
        return size, size
    if response.status == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        if not match or int(match[1]) != size:
            raise ConnectionError(f"the server sent another part than the one from byte {size} on")
        return size, int(match[2])
    length = response.headers.get("Content-Length")
    return 0, int(length) if length else None
