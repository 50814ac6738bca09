"""The model hub: what a repository holds, and the bytes of one file from any position on.

The only import of huggingface_hub and of its HTTP library.  It is the library's API for
metadata; its download is not used.  That one writes to a file with a name of its own each time
and deletes it when it fails, so nothing survives a kill, and where the Xet helper is installed
it goes around HTTP.  Here every byte comes from the plain `resolve` address, by Range.

Nobody is told who asks: a login stored by other programs is not sent.  `$HF_TOKEN` is, because
somebody has set it.

Unknown here: files on our disk, packs, licences.
"""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import msgspec
from huggingface_hub import HfApi, get_hf_file_metadata, get_session, hf_hub_url
from huggingface_hub import errors as said

from models.supply.errors import (
    HubCut,
    HubOdd,
    HubRefuses,
    HubUnreachable,
    NotOnHub,
    RangeRefused,
    SupplyError,
)

#: seconds for a connection, and for an answer without a body
ANSWER_S = 15.0
#: seconds in which at least one byte of a file has to come
STALL_S = 30.0
#: statuses that pass by themselves
_LATER = {408, 425, 429, 500, 502, 503, 504}

# Its warnings go to stderr behind our back; what matters of them comes as errors.
logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


class Remote(msgspec.Struct, frozen=True):
    """One file as the hub names it."""

    path: str
    size: int
    sha256: str  #: hex; "" where the hub knows none (small files outside LFS)
    blob: str  #: git's hash of the content: sha1 over a header and the bytes; "" for LFS files


class Snapshot(msgspec.Struct, frozen=True):
    """Files of one repository at one commit."""

    repo: str
    revision: str
    files: tuple[Remote, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


class Hub:
    """The hub at *endpoint*; "" takes the library's own default, or `$HF_ENDPOINT`."""

    def __init__(self, endpoint: str = "", *, stall_s: float = STALL_S) -> None:
        self._token: str | bool = os.environ.get("HF_TOKEN") or False
        self._api = HfApi(endpoint=endpoint.rstrip("/") or None, token=self._token)
        self._stall_s = stall_s
        self.address: str = self._api.endpoint

    def snapshot(self, repo: str, revision: str, paths: tuple[str, ...]) -> Snapshot:
        """What *paths* of *repo* are at *revision* ("" for the newest).

        Raises:
            HubUnreachable: nobody answers.
            NotOnHub: the repository, the revision or one of the files is not there.
            HubRefuses: it wants a login.
            HubOdd: the answer is none of a hub, or is about another revision.
        """
        with self._told(repo, revision):
            try:
                info = self._api.model_info(
                    repo, revision=revision or None, files_metadata=True, timeout=ANSWER_S
                )
            except (ValueError, KeyError, TypeError) as error:  # no JSON, or about something else
                if isinstance(error, said.HfHubHTTPError):
                    raise
                raise HubOdd(
                    f"{self.address} does not answer like a model hub: is `model.hub` right?"
                ) from error
        commit = info.sha or ""
        if not re.fullmatch("[0-9a-f]{40}", commit) or (
            _is_commit(revision) and commit != revision
        ):
            raise HubOdd(
                f"{self.address} answers with revision {commit or 'none'} of {repo}"
                f" where {revision or 'the newest'} was asked for"
            )
        there = {each.rfilename: each for each in info.siblings or ()}
        files = []
        for path in paths:
            if path not in there:
                raise NotOnHub(f"{repo} has no file {path} at revision {commit}")
            found = there[path]
            size = found.lfs.size if found.lfs else found.size
            sha256 = found.lfs.sha256 if found.lfs else ""
            blob = "" if found.lfs else found.blob_id or ""
            if size is None or not (sha256 or blob):
                raise HubOdd(f"{self.address} tells no size or no checksum of {path} in {repo}")
            files.append(Remote(path, size, sha256, blob))
        return Snapshot(repo, commit, tuple(files))

    @contextmanager
    def stream(
        self, snapshot: Snapshot, file: Remote, start: int
    ) -> Iterator[tuple[int, Iterator[bytes]]]:
        """The bytes of *file* from *start* on, or from 0 where the server cannot do better.

        Yields (first position, chunks).

        Raises:
            HubCut: the connection ended or stalled; also out of the chunks.
            HubUnreachable, NotOnHub, HubRefuses, HubOdd: as in `snapshot`.
        """
        url = hf_hub_url(
            snapshot.repo, file.path, revision=snapshot.revision, endpoint=self.address
        )
        with self._told(snapshot.repo, snapshot.revision, file.path):
            about = get_hf_file_metadata(
                url, token=self._token, timeout=ANSWER_S, endpoint=self.address
            )
            named = file.sha256 or file.blob
            if about.commit_hash != snapshot.revision or about.etag != named:
                raise HubOdd(
                    f"{self.address} contradicts itself about {file.path} of {snapshot.repo}:"
                    f" revision {snapshot.revision} with {named}, then"
                    f" {about.commit_hash} with {about.etag}"
                )
            headers = {"Accept-Encoding": "identity"}
            if self._token and about.location.startswith(self.address + "/"):
                headers["Authorization"] = f"Bearer {self._token}"  # for the hub alone, no CDN
            if start:
                headers["Range"] = f"bytes={start}-"
            with get_session().stream(
                "GET",
                about.location,
                headers=headers,
                follow_redirects=True,
                timeout=(ANSWER_S, self._stall_s, ANSWER_S, ANSWER_S),
            ) as response:
                if response.status_code == httpx2.codes.RANGE_NOT_SATISFIABLE:
                    raise RangeRefused(f"{self.address} does not go on with {file.path}")
                if response.status_code in _LATER:
                    raise HubCut(f"{self.address} answers {response.status_code} for {file.path}")
                response.raise_for_status()
                first = _first(response)
                if first not in {0, start}:
                    raise HubOdd(
                        f"{self.address} sends {file.path} from {first} on instead of {start}"
                    )
                yield first, response.iter_bytes()

    @contextmanager
    def _told(self, repo: str, revision: str, path: str = "") -> Iterator[None]:
        """Whatever the libraries raise, as one of our errors with one line to read."""
        at = f"revision {revision}" if revision else "its newest revision"
        try:
            yield
        except SupplyError:
            raise
        except said.OfflineModeIsEnabled as error:
            raise HubUnreachable(
                "HF_HUB_OFFLINE is set, so nothing is fetched: unset it, or import from a folder"
            ) from error
        except (said.GatedRepoError, said.DisabledRepoError) as error:
            raise HubRefuses(
                f"{repo} is not given to everybody: agree to its terms at {self.address}/{repo},"
                " then set HF_TOKEN to a token of yours"
            ) from error
        except said.RevisionNotFoundError as error:
            raise NotOnHub(f"{repo} has no {at} on {self.address}") from error
        except said.EntryNotFoundError as error:
            raise NotOnHub(f"{repo} has no file {path} at {at}") from error
        except said.RepositoryNotFoundError as error:
            raise NotOnHub(
                f"{self.address} knows no repository {repo}, or shows it only to those it knows:"
                " then set HF_TOKEN"
            ) from error
        except said.HfHubHTTPError as error:
            raise self._status(error.response.status_code, repo) from error
        except httpx2.HTTPStatusError as error:
            raise self._status(error.response.status_code, repo) from error
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError) as error:
            raise HubUnreachable(
                f"{self.address} cannot be reached ({error}): is this machine online?"
            ) from error
        except httpx2.TimeoutException as error:
            kind = HubCut if path else HubUnreachable
            raise kind(f"{self.address} did not answer in time") from error
        except httpx2.TransportError as error:
            kind = HubCut if path else HubUnreachable
            raise kind(f"the connection to {self.address} broke: {error}") from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise HubOdd(f"{self.address} does not answer like a model hub: {error}") from error

    def _status(self, code: int, repo: str) -> SupplyError:
        if code in _LATER:
            return HubUnreachable(f"{self.address} answers {code}; come again later")
        if code in {401, 403}:
            return HubRefuses(
                f"{self.address} answers {code} for {repo}: it wants to know who asks;"
                " set HF_TOKEN to a token of yours"
            )
        return HubOdd(f"{self.address} answers {code} for {repo}")


def _is_commit(revision: str) -> bool:
    return re.fullmatch("[0-9a-f]{40}", revision) is not None


def _first(response: httpx2.Response) -> int:
    """Position of the first byte of the body."""
    if response.status_code != httpx2.codes.PARTIAL_CONTENT:
        return 0
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else -1
