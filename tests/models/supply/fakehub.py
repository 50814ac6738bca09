"""A model hub on this machine: its addresses, headers and redirects, and what can go wrong.

It answers what the hub's library asks:

    GET  /api/models/REPO[/revision/REVISION]?blobs=true    commit, files, sizes, checksums
    HEAD /REPO/resolve/REVISION/PATH                        X-Repo-Commit and a redirect: for LFS
                                                            to another host, with X-Linked-Etag
                                                            and X-Linked-Size; else to itself
    GET  the same, or where the redirect leads              bytes, also from a position on
"""

import contextlib
import hashlib
import json
import random
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

OLD, NEW = "1" * 40, "2" * 40


def blob(size, seed=0):
    return random.Random(seed).randbytes(size)


class FakeHub:
    """Repositories, whose newest commit is the last one; files that end in .onnx are in LFS."""

    def __init__(self):
        self.repos = {}  # repo → commit → path → bytes
        self.seen = []  # (method, path, Range or "")
        self.tokens = {}  # host name → the last Authorization that came to it
        self.sent = 0  # bytes of files
        self.cuts = {}  # path → after how many bytes of a body the line is cut, one a request
        self.lies = {}  # path → other bytes than were announced
        self.short = set()  # paths whose body ends too early, in order
        self.renamed = {}  # commit asked for → commit answered with
        self.etags = {}  # path → a header that contradicts the listing
        self.gated, self.status, self.html = set(), {}, False
        self.ranges = True
        self.hold_at = None  # (path, bytes): wait there
        self.held, self.go_on = threading.Event(), threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        self.server.block_on_close = False
        self.port = self.server.server_address[1]
        self.address = f"http://127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def running(self):
        thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            self.go_on.set()
            self.server.shutdown()
            self.server.server_close()
            thread.join()

    def add(self, repo, files, commit=OLD):
        self.repos.setdefault(repo, {})[commit] = dict(files)

    def bodies(self, path=""):
        """(path, Range) of each request for bytes of files whose path ends in *path*."""
        return [
            (where, span)
            for method, where, span in self.seen
            if method == "GET" and not where.startswith("api/models/") and where.endswith(path)
        ]


def _handler(hub):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_HEAD(self):
            self.answer(body=False)

        def do_GET(self):
            self.answer(body=True)

        def answer(self, *, body):
            path = unquote(urlsplit(self.path).path).strip("/")
            hub.seen.append((self.command, path, self.headers.get("Range", "")))
            host = self.headers["Host"].partition(":")[0]
            hub.tokens[host] = self.headers.get("Authorization", "")
            for part, code in hub.status.items():
                if part in path:
                    self.plain(code)
                    return
            if hub.html:
                self.plain(200, b"<html>Welcome to the hotel</html>", {"Content-Type": "text/html"})
            elif path.startswith("api/resolve-cache/"):
                repo, commit, file = path.removeprefix("api/resolve-cache/").split(":", 2)
                content = hub.repos[repo.replace("~", "/")][commit][file]
                etag = hub.etags.get(file, _git(content))
                headers = {"X-Repo-Commit": commit, "ETag": f'W/"{etag}"'}
                self.bytes_of(content, file, headers, body=body)
            elif path.startswith("api/models/"):
                self.about(path.removeprefix("api/models/"))
            elif path.startswith("cdn/"):
                _, repo, commit, file = path.split(":", 3)
                self.bytes_of(hub.repos[repo.replace("~", "/")][commit][file], file, {})
            else:
                self.resolve(path)

        def about(self, path):
            repo, _, revision = path.partition("/revision/")
            commit = self.commit(repo, revision)
            if commit is None:
                return
            siblings = []
            for name, content in hub.repos[repo][commit].items():
                about = {"rfilename": name, "size": len(content), "blobId": _git(content)}
                if name.endswith(".onnx"):
                    sha256 = hashlib.sha256(content).hexdigest()
                    about["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 134}
                siblings.append(about)
            commit = hub.renamed.get(commit, commit)
            about = {"id": repo, "sha": commit, "siblings": siblings, "private": False}
            self.plain(200, json.dumps(about).encode(), {"Content-Type": "application/json"})

        def resolve(self, path):
            repo, _, rest = path.partition("/resolve/")
            revision, _, file = rest.partition("/")
            if repo in hub.gated:
                self.plain(401, headers={"X-Error-Code": "GatedRepo"})
                return
            commit = self.commit(repo, revision)
            if commit is None:
                return
            content = hub.repos[repo][commit].get(file)
            headers = {"X-Repo-Commit": commit}
            if content is None:
                self.plain(404, headers=headers | {"X-Error-Code": "EntryNotFound"})
            elif file.endswith(".onnx"):
                sha256 = hashlib.sha256(content).hexdigest()
                repo = repo.replace("/", "~")
                # another name of this machine stands for another machine
                headers["Location"] = (
                    f"http://localhost:{hub.port}/cdn/:{repo}:{commit}:{file}?signed=1"
                )
                headers["X-Linked-Etag"] = f'"{hub.etags.get(file, sha256)}"'
                headers["X-Linked-Size"] = str(len(content))
                self.plain(302, headers=headers)
            else:
                repo = repo.replace("/", "~")
                headers["Location"] = f"/api/resolve-cache/{repo}:{commit}:{file}"
                self.plain(307, headers=headers)

        def commit(self, repo, revision):
            commits = hub.repos.get(repo)
            if commits is None:  # as the hub answers those whom it does not know
                self.plain(401, headers={"X-Error-Code": "RepoNotFound"})
                return None
            found = revision if revision in commits else None
            if revision in {"", "main"}:
                found = list(commits)[-1]
            if found is None:
                self.plain(404, headers={"X-Error-Code": "RevisionNotFound"})
            return found

        def bytes_of(self, content, file, headers, *, body=True):
            content = hub.lies.get(file, content)
            span, code, first = self.headers.get("Range"), 200, 0
            if span and hub.ranges:
                first, code = int(span.removeprefix("bytes=").rstrip("-")), 206
                if first >= len(content):
                    self.plain(416)
                    return
                headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
            rest = content[first:]
            if file in hub.short:
                rest = rest[:-7]
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(rest)))
            self.end_headers()
            if not body:
                return
            cut = hub.cuts[file].pop(0) if hub.cuts.get(file) else None
            if hub.hold_at and hub.hold_at[0] == file:
                at = max(hub.hold_at[1] - first, 0)
                self.put(rest[:at])
                hub.hold_at = None
                hub.held.set()
                hub.go_on.wait(60)
                rest = rest[at:]
            self.put(rest[:cut])
            if cut is not None:
                # what is in the socket is sent, then the line is dead
                self.close_connection = True

        def put(self, content):
            with contextlib.suppress(OSError):  # whoever asked has gone
                hub.sent += len(content)  # before somebody who has all of it may look
                self.wfile.write(content)
                self.wfile.flush()

        def plain(self, code, content=b"", headers=()):
            self.send_response(code)
            for name, value in dict(headers).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

    return Handler


def _git(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def wait_for(condition, seconds=30):
    """Return once *condition* holds; for what another process does to a file."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.005)
