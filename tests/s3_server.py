"""An S3-compatible object store in memory, with the operations that the clients of Arrow and LanceDB use. It checks signatures.

Run: python tests/s3_server.py PORT BUCKET. Requests are signed with KEY and SECRET (Signature Version 4). The server supports
objects as a whole or by range, listings in pages, uploads in parts, single and multiple deletions, and writing an object only
if there is none (`If-None-Match: *`), by which LanceDB commits.
"""

import hashlib
import hmac
import re
import sys
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from threading import Lock, Thread
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.sax.saxutils import escape

KEY, SECRET = "access-key-of-the-tests", "secret-key-of-the-tests"
_PAGE = 10  # entries of a listing; few, so that tests get several pages


class Store(ThreadingHTTPServer):
    """The server and its objects: bucket -> key -> bytes. `with Store(("127.0.0.1", 0), "bucket")` serves in a thread."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], *buckets: str) -> None:
        super().__init__(address, _Handler)
        self.buckets: dict[str, dict[str, bytes]] = {name: {} for name in buckets}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.numbers, self.lock = count(), Lock()

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that S3 clients need."""
        address = f"http://127.0.0.1:{self.server_port}"
        return {
            "AWS_ENDPOINT_URL": address,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def __enter__(self) -> "Store":
        Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Store

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def handle_expect_100(self) -> bool:
        """Answer at once. Output is buffered, and clients would wait a second for this before they send."""
        goes_on = super().handle_expect_100()
        self.wfile.flush()
        return goes_on

    def handle(self) -> None:
        try:
            super().handle()
        except (ConnectionError, TimeoutError):  # the client was killed
            self.close_connection = True

    def _answer(self) -> None:
        """Handle one request: check it, find its bucket and key, and run the method."""
        self.body = self._read_body()
        parts = urlsplit(self.path)
        self.query = dict(parse_qsl(parts.query, keep_blank_values=True))
        bucket, _, self.key = unquote(parts.path).lstrip("/").partition("/")
        refusal = _refusal(self.command, parts, self.headers)
        if refusal:
            return self._refuse(403, refusal)
        if bucket not in self.server.buckets:
            return self._refuse(404, "NoSuchBucket")
        self.objects = self.server.buckets[bucket]
        with self.server.lock:
            status, body, headers = getattr(self, f"_{self.command.lower()}")()
        self._send(status, body, headers)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            data = b"".join(iter(self._read_chunk, b""))
        else:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        streamed = "STREAMING" in self.headers.get("x-amz-content-sha256", "")
        return _unchunked(data) if streamed or "aws-chunked" in self.headers.get("Content-Encoding", "") else data

    def _read_chunk(self) -> bytes:
        data = self.rfile.read(int(self.rfile.readline().split(b";")[0], 16))
        self.rfile.readline()
        return data

    def _put(self) -> tuple:
        if self.headers.get("If-None-Match") == "*" and self.key in self.objects:
            return 412, _xml("Error", "<Code>PreconditionFailed</Code><Message>The key exists.</Message>"), {}
        if "uploadId" in self.query:
            self.server.uploads[self.query["uploadId"]][int(self.query["partNumber"])] = self.body
        else:
            self.objects[self.key] = self.body
        return 200, b"", {"ETag": _tag(self.body)}

    def _post(self) -> tuple:
        if "delete" in self.query:
            keys = re.findall(r"<Key>(.*?)</Key>", self.body.decode())
            for key in keys:
                self.objects.pop(_unescaped(key), None)
            return 200, _xml("DeleteResult", "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)), {}
        if "uploads" in self.query:
            name = f"upload-{next(self.server.numbers)}"
            self.server.uploads[name] = {}
            return 200, _xml("InitiateMultipartUploadResult", f"<UploadId>{name}</UploadId>"), {}
        parts = self.server.uploads.pop(self.query["uploadId"])
        self.objects[self.key] = b"".join(parts[number] for number in sorted(parts))
        return 200, _xml("CompleteMultipartUploadResult", f"<ETag>{escape(_tag(self.objects[self.key]))}</ETag>"), {}

    def _delete(self) -> tuple:
        self.objects.pop(self.key, None)
        return 204, b"", {}

    def _head(self) -> tuple:
        if not self.key:
            return 200, b"", {}
        return self._get() if self.key in self.objects else (404, b"", {})

    def _get(self) -> tuple:
        if not self.key:
            return 200, self._listing(), {}
        if self.key not in self.objects:
            return 404, _xml("Error", "<Code>NoSuchKey</Code><Message>The key does not exist.</Message>"), {}
        data = self.objects[self.key]
        headers = {"ETag": _tag(data), "Last-Modified": formatdate(usegmt=True), "Accept-Ranges": "bytes"}
        requested = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not requested:
            return 200, data, headers
        first, last = int(requested[1]), min(int(requested[2] or len(data)), len(data) - 1)
        return 206, data[first : last + 1], headers | {"Content-Range": f"bytes {first}-{last}/{len(data)}"}

    def _listing(self) -> bytes:
        prefix, delimiter = self.query.get("prefix", ""), self.query.get("delimiter", "")
        after = self.query.get("continuation-token", "")
        entries: dict[str, str] = {}
        for key in sorted(key for key in self.objects if key.startswith(prefix)):
            head, cut, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
            name = prefix + head + cut if cut else key
            size = len(self.objects[key])
            entries[name] = (
                f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>"
                if cut
                else f"<Contents><Key>{escape(key)}</Key><Size>{size}</Size>"
                "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            )
        names = [name for name in sorted(entries) if name > after]
        shown = names[: min(_PAGE, int(self.query.get("max-keys", _PAGE)))]
        more = len(names) > len(shown)
        token = f"<NextContinuationToken>{escape(shown[-1])}</NextContinuationToken>" if more else ""
        head = f"<KeyCount>{len(shown)}</KeyCount><IsTruncated>{str(more).lower()}</IsTruncated>{token}"
        return _xml("ListBucketResult", head + "".join(entries[name] for name in shown))

    def _refuse(self, status: int, code: str) -> None:
        self._send(status, _xml("Error", f"<Code>{code}</Code><Message>{code}</Message>"), {})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _refusal(method: str, parts: object, headers: object) -> str:
    """S3's name of the error of a request, or "". Computes the signature again and compares it."""
    match = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=([^/]+)/([^/]+)/([^/]+)/s3/aws4_request, ?SignedHeaders=([^,]+), ?Signature=(\w+)",
        headers.get("Authorization", ""),
    )
    if not match:
        return "AccessDenied"
    key, day, region, signed, signature = match.groups()
    if key != KEY:
        return "InvalidAccessKeyId"
    query = "&".join(
        sorted(
            f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}"
            for name, value in parse_qsl(parts.query, keep_blank_values=True)
        )
    )
    lines = "".join(f"{name}:{' '.join(headers.get(name, '').split())}\n" for name in signed.split(";"))
    request = f"{method}\n{parts.path}\n{query}\n{lines}\n{signed}\n{headers['x-amz-content-sha256']}"
    scope = f"{day}/{region}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{headers['x-amz-date']}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    secret = b"AWS4" + SECRET.encode()
    for part in scope.split("/"):
        secret = hmac.digest(secret, part.encode(), "sha256")
    return "" if hmac.digest(secret, text.encode(), "sha256").hex() == signature else "SignatureDoesNotMatch"


def _unchunked(data: bytes) -> bytes:
    """The payload of a body in aws-chunked encoding: chunks with their sizes in hexadecimal, then trailing headers."""
    chunks, at = [], 0
    while True:
        end = data.index(b"\r\n", at)
        size = int(data[at:end].split(b";")[0], 16)
        if not size:
            return b"".join(chunks)
        chunks.append(data[end + 2 : end + 2 + size])
        at = end + 2 + size + 2


def _tag(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


def _xml(name: str, inside: str) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{name}>{inside}</{name}>'.encode()


def _unescaped(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "&")


if __name__ == "__main__":
    Store(("127.0.0.1", int(sys.argv[1])), *sys.argv[2:]).serve_forever()
