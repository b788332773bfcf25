# SPDX-License-Identifier: Apache-2.0
"""Whenever we accept a URL, everybody else must read the same host out of it.

The readers are those that tools really use: libcurl's own URL parser, the URL Standard as Node.js
has it, ``urllib``, ``yarl`` (aiohttp) and, for hosts, the system's ``getaddrinfo``. A reader that
refuses what we accept is no danger; one that reads another scheme, host or port is.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import itertools
import json
import random
import shutil
import socket
import subprocess
from typing import Any
from urllib.parse import urlsplit

import pytest
from yarl import URL

from sidecar.destination import canonical_address, parse_url
from sidecar.model import Destination
from sidecar.shape import ShapeError

Reading = tuple[str, str, int]

SCHEMES = [
    "http://",
    "https://",
    "HTTP://",
    "hTTps://",
    "http:",
    "http:/",
    "http:///",
    "//",
    "ftp://",
    "",
]
HOSTS = [
    "allowed.com",
    "evil.com",
    "ALLOWED.com",
    "allowed.com.",
    "a.b-c.d",
    "localhost",
    "xn--bcher-kva.de",
    "127.0.0.1",
    "0177.0.0.1",
    "0x7f.1",
    "127.1",
    "2130706433",
    "1.2.3.4",
    "1.2.3.4.",
    "0",
    "1.2.3.999",
    "[::1]",
    "[2001:DB8::1]",
    "[::ffff:127.0.0.1]",
    "[fe80::1%25lo]",
    "[::1].evil.com",
    "127.0.0.1.nip.io",
    "bücher.de",
    "１.2.3.4",
    "evil。com",
    "e%76il.com",
    "a_b.com",
    "xn--a",
    "a..b",
    "a,b",
    "256.256.256.256",
]
JOINTS = [
    "",
    "@",
    "\\@",
    ":",
    ":80",
    ":443",
    ":0",
    ":65536",
    ":080",
    "#@",
    "?@",
    "/@",
    "/",
    "\\",
    ".",
    "%2f",
]
JOINTS += [
    "%40",
    ";",
    "&",
    "\t",
    "\n",
    " ",
    "#",
    "?",
    ":@",
    ":80@",
    "::",
    "%00",
    "\0",
    "[",
    "]",
    "@:",
    "/\\",
]
TAILS = [
    "",
    "/",
    "/path",
    "?q=1",
    "#f",
    "/a@b",
    "/../x",
    "/%2e%2e/",
    ":8080",
    "/?u=http://evil.com",
    "@evil.com",
]


def corpus() -> list[str]:
    """Return URLs in which parsers are known to differ, and many more made of their parts."""
    rng = random.Random(20260101)
    made = [
        "".join(parts) for parts in itertools.product(SCHEMES, HOSTS, [""], ["", "/", ":8080/x"])
    ]
    for _ in range(12_000):
        text = rng.choice(SCHEMES[:4] if rng.random() < 0.8 else SCHEMES)
        for _ in range(rng.randint(1, 3)):
            text += rng.choice(HOSTS) + rng.choice(JOINTS)
        text += rng.choice(TAILS)
        if rng.random() < 0.2:
            place = rng.randrange(len(text) + 1)
            text = text[:place] + rng.choice("\t\n \\@:#?/.[]%\r\0éx1") + text[place:]
        made.append(text)
    alphabet = "ab1.-:/"
    made += [f"http://{''.join(rng.choices(alphabet, k=rng.randint(1, 9)))}" for _ in range(6000)]
    octets = ["0", "1", "01", "0x1", "127", "255", "256", "08", "1e1", "a", "0x", "00"]
    for _ in range(4000):
        made.append(
            "http://" + ".".join(rng.choices(octets, k=rng.randint(1, 5))) + rng.choice(["", "."])
        )
    return made


@pytest.fixture(scope="module")
def accepted() -> dict[str, Destination]:
    """Return every URL of the corpus that we accept, with our reading."""
    kept = {}
    for text in corpus():
        with contextlib.suppress(ShapeError):
            kept[text] = parse_url(text)
    assert len(kept) > 1000
    return kept


def reading(scheme: str, host: str, port: int | None) -> Reading:
    """Return a foreign reading in our spelling."""
    host = host.strip("[]").lower()
    host = host[:-1] if host.endswith(".") else host
    with contextlib.suppress(ShapeError):
        host = canonical_address(host)
    return (scheme.lower(), host, port or {"http": 80, "https": 443}[scheme.lower()])


def ours(destination: Destination) -> Reading:
    """Return our reading of a URL."""
    return (destination.scheme, destination.host, destination.port)


def test_b02_b04_urllib_reads_the_same_host(accepted: dict[str, Destination]) -> None:
    """``urllib.parse.urlsplit``, and what http.client dials."""
    for text, destination in accepted.items():
        parts = urlsplit(text)

        assert reading(parts.scheme, parts.hostname or "", parts.port) == ours(destination), text


def test_b02_b04_aiohttp_reads_the_same_host(accepted: dict[str, Destination]) -> None:
    """``yarl``, the parser of aiohttp."""
    for text, destination in accepted.items():
        try:
            url = URL(text)
        except ValueError:
            continue

        assert reading(url.scheme, url.raw_host or "", url.port) == ours(destination), text


class LibCurl:
    """The URL interface of libcurl, which is also what the ``curl`` program uses."""

    _URL, _SCHEME, _HOST, _PORT = 0, 1, 5, 6
    _DEFAULT_PORT, _GUESS_SCHEME = 1, 1 << 9

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        library.curl_url.restype = ctypes.c_void_p
        library.curl_url_set.argtypes = [
            ctypes.c_void_p,
            ctypes.c_int,
            ctypes.c_char_p,
            ctypes.c_uint,
        ]
        library.curl_url_get.argtypes = [
            ctypes.c_void_p,
            ctypes.c_int,
            ctypes.POINTER(ctypes.c_void_p),
            ctypes.c_uint,
        ]
        library.curl_url_cleanup.argtypes = [ctypes.c_void_p]
        library.curl_free.argtypes = [ctypes.c_void_p]

    def read(self, text: str) -> Reading | None:
        """Return scheme, host and port, or None if libcurl refuses *text*."""
        handle = self._library.curl_url()
        try:
            if self._library.curl_url_set(handle, self._URL, text.encode(), self._GUESS_SCHEME):
                return None
            parts = [self._part(handle, part) for part in (self._SCHEME, self._HOST, self._PORT)]
            return reading(parts[0], parts[1], int(parts[2]))
        finally:
            self._library.curl_url_cleanup(handle)

    def _part(self, handle: int, part: int) -> str:
        result = ctypes.c_void_p()
        assert not self._library.curl_url_get(
            handle, part, ctypes.byref(result), self._DEFAULT_PORT
        )
        try:
            return ctypes.string_at(result.value or 0).decode()
        finally:
            self._library.curl_free(result)


@pytest.fixture(scope="module")
def libcurl() -> LibCurl:
    """Return libcurl, or skip where it is not installed."""
    name = ctypes.util.find_library("curl")
    if name is None:
        pytest.skip("libcurl is the reference here")
    return LibCurl(ctypes.CDLL(name))


def test_b02_b04_curl_reads_the_same_host(
    accepted: dict[str, Destination], libcurl: LibCurl
) -> None:
    """libcurl also rewrites odd IPv4 forms, which is why they must be refused."""
    agreed = 0
    for text, destination in accepted.items():
        theirs = libcurl.read(text)
        if theirs is None:
            continue
        agreed += 1
        assert theirs == ours(destination), text

    assert agreed > 1000


def test_b04_curl_negative_control(libcurl: LibCurl) -> None:
    """Without our numeric rule these names would be checked, and another address dialled."""
    for text, host in (
        ("http://0177.0.0.1/", "127.0.0.1"),
        ("http://2130706433/", "127.0.0.1"),
        ("http://allowed.com@evil.com/", "evil.com"),
    ):
        theirs = libcurl.read(text)

        assert theirs is not None
        assert theirs[1] == host
        with pytest.raises(ShapeError):
            parse_url(text)


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is the reference here")
def test_b02_b04_browsers_read_the_same_host(accepted: dict[str, Destination]) -> None:
    """The URL Standard, as Node.js and every browser implement it."""
    script = (
        "let t='';process.stdin.on('data',d=>t+=d);"
        "process.stdin.on('end',()=>process.stdout.write(JSON.stringify("
        "JSON.parse(t).map(u=>{try{const x=new URL(u);return [x.protocol,x.hostname,x.port]}"
        "catch(e){return null}}))))"
    )
    done = subprocess.run(
        ["node", "-e", script],
        input=json.dumps(list(accepted)).encode(),
        capture_output=True,
        check=True,
        timeout=60,
    )
    theirs: list[Any] = json.loads(done.stdout)

    agreed = 0
    for (text, destination), read in zip(accepted.items(), theirs, strict=True):
        if read is None:
            continue
        agreed += 1
        scheme, host, port = read
        assert reading(scheme[:-1], host, int(port) if port else None) == ours(destination), text
    assert agreed > 1000


def numeric_address(host: str) -> str | None:
    """Return the address that the system takes the text *host* for, without asking any server."""
    try:
        found = socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return None
    return canonical_address(str(found[0][4][0]))


def test_b04_the_system_takes_no_name_for_an_address(accepted: dict[str, Destination]) -> None:
    """What we call a name is no number to ``getaddrinfo``; what we call an address is that one."""
    for text, destination in accepted.items():
        expected = destination.host if destination.is_ip else None

        assert numeric_address(destination.host) == expected, text


def test_b04_getaddrinfo_negative_control() -> None:
    """The system does take all of these for 127.0.0.1."""
    for host in ("0177.0.0.1", "0x7f.1", "127.1", "2130706433", "0x7f000001"):
        assert numeric_address(host) == "127.0.0.1"
