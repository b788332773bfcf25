# SPDX-License-Identifier: Apache-2.0
"""One reading of a URL, or none."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.destination import parse_url, urls
from sidecar.model import Destination, ReasonCode
from sidecar.shape import ShapeError


def refused(text: Any, **options: bool) -> ReasonCode:
    """Return the reason for which *text* is refused."""
    with pytest.raises(ShapeError) as caught:
        parse_url(text, **options)
    return caught.value.code


def place(text: str) -> tuple[str, str, int, bool]:
    """Return scheme, host, port and whether the host is an address."""
    destination = parse_url(text)
    return (destination.scheme, destination.host, destination.port, destination.is_ip)


# B01


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://example.com", ("http", "example.com", 80, False)),
        ("https://example.com", ("https", "example.com", 443, False)),
        ("https://example.com.", ("https", "example.com", 443, False)),
        ("https://EXAMPLE.Com./a/B?C#D", ("https", "example.com", 443, False)),
        ("HTTP://example.com:443/", ("http", "example.com", 443, False)),
        ("https://example.com:80", ("https", "example.com", 80, False)),
        ("https://example.com:1", ("https", "example.com", 1, False)),
        ("https://example.com.:65535/x", ("https", "example.com", 65535, False)),
        ("http://localhost", ("http", "localhost", 80, False)),
        ("http://10.0.0.1:8080/", ("http", "10.0.0.1", 8080, True)),
        ("http://[2001:DB8:0:0::1]:8080/", ("http", "2001:db8::1", 8080, True)),
        ("http://[::]", ("http", "::", 80, True)),
        ("http://[::1]/", ("http", "::1", 80, True)),
        ("https://example.com?q=a@b", None),
        ("https://example.com/@user?q=a@b#@c", ("https", "example.com", 443, False)),
        ("https://example.com?q=1", ("https", "example.com", 443, False)),
        ("https://example.com#top", ("https", "example.com", 443, False)),
        ("https://example.com/a[]=%20'()*+,;~$&!", ("https", "example.com", 443, False)),
        (
            "https://a-1.b--c.xn--bcher-kva.example/",
            ("https", "a-1.b--c.xn--bcher-kva.example", 443, False),
        ),
    ],
)
def test_b01_plain_urls_are_read(text: str, expected: tuple[str, str, int, bool] | None) -> None:
    """One trailing dot and ASCII case are folded; the port is the scheme's or the one written."""
    if expected is None:
        assert refused(text) is ReasonCode.URL
    else:
        assert place(text) == expected


@pytest.mark.parametrize(
    "port",
    [
        "",
        "0",
        "00",
        "65536",
        "65537",
        "99999",
        "100000",
        "0x50",
        "080",
        "８０",
        "٨٠",
        "+80",
        "-1",
        "8 0",
        "80:80",
        "http",
        "8_0",
        "80.",
        "1e3",
        "9" * 5000,
    ],
)
@pytest.mark.parametrize("host", ["example.com", "[::1]", "10.0.0.1"])
def test_b01_odd_ports_are_refused(host: str, port: str) -> None:
    """A port is ASCII decimal from 1 to 65535 without leading zero, and not empty."""
    assert refused(f"http://{host}:{port}/") is ReasonCode.URL


@pytest.mark.parametrize(
    "host",
    [
        "example.com..",
        "..",
        ".",
        ".example.com",
        "a..b",
        "-a.com",
        "a-.com",
        "a_b.com",
        "*.com",
        "a" * 64,
        "a" * 63 + "." + ("b" * 63 + ".") * 2 + "c" * 63,
        "%61.com",
        "a%2ecom",
        "a,b",
        "a!b",
        "a~b",
    ],
)
def test_b01_odd_hosts_are_refused(host: str) -> None:
    """Empty and long labels, hyphens at the ends, underscores and escapes are no host."""
    assert refused(f"http://{host}/") is ReasonCode.URL


def test_b01_longest_names_are_exact() -> None:
    """253 characters and labels of 63 pass; one more does not."""
    label = "a" * 63
    longest = f"{label}.{label}.{label}." + "b" * 61

    assert place(f"http://{longest}.")[1] == longest
    assert refused(f"http://{longest}b") is ReasonCode.URL


def test_b01_longest_url_is_exact() -> None:
    """8192 characters pass, one more does not."""
    base = "http://a.example/"

    assert urls.MAX_URL == 8192
    assert parse_url(base + "x" * (8192 - len(base)))
    assert refused(base + "x" * (8193 - len(base))) is ReasonCode.URL


# B02


@pytest.mark.parametrize(
    "text",
    [
        "https://allowed.com\\@evil.com",
        "https://allowed.com\\.evil.com",
        "https:\\\\evil.com",
        "https://allowed.com@evil.com",
        "https://allowed.com:443@evil.com",
        "https://user:pass@evil.com/",
        "https://@evil.com",
        "https://:@evil.com",
        "https://evil.com#@allowed.com",
        "https://evil.com?@allowed.com",
        "https://evil.com#/@allowed.com",
        "https://allowed.com%40evil.com",
        "https://allowed.com%00.evil.com",
        "https://allowed.com%2fevil.com",
        "https://allowed.com%5cevil.com",
        "https://ex\tample.com",
        "https://ex\nample.com",
        "ht\ntps://example.com",
        "https:/\t/example.com",
        " https://example.com",
        "https://example.com ",
        "https://example.com\n",
        "https://example.com/a b",
        "https://example.com/\r\nHost: evil",
        "https://example.com\0.evil.com",
        "https://example.com/\x7f",
        "https://[::1",
        "https://::1]",
        "https://[::1]evil.com",
        "https://[::1].evil.com",
        "https://evil.com[::1]",
        "https://[[::1]]",
        "https://[]",
        "https://[::1]:",
        "https://[fe80::1%25eth0]",
        "https://[fe80::1%eth0]",
        "https://[v1.x]",
        "https://[127.0.0.1]",
        "https://[1.example]",
        "https://a;b.com",
        "https://a&b.com",
        "https://a'b.com",
        "https://(a).com",
        "https://example.com/%",
        "https://example.com/%2",
        "https://example.com/%zz",
        'https://example.com/"',
        "https://example.com/<x>",
        "https://{a,b}.com/",
        "https://example.com/{a}|^`",
    ],
    ids=ascii,
)
def test_b02_tricks_are_refused(text: str) -> None:
    """Userinfo, backslashes, blanks, controls and brackets out of place are refused."""
    assert refused(text) is ReasonCode.URL
    assert refused(text, allow_bare=True) is ReasonCode.URL


def test_b02_negative_control() -> None:
    """``urlsplit`` strips newlines and tabs, and takes the host from behind the @."""
    assert urlsplit("https://ex\tam\nple.com").hostname == "example.com"
    assert urlsplit("https://allowed.com@evil.com").hostname == "evil.com"
    assert urlsplit(" https://example.com").hostname == "example.com"


def test_b02_userinfo_negative_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a looser authority the name before the @ would be checked and the other one dialled."""
    import re

    text = "https://allowed.com@evil.com"
    loose = re.compile(r"(?:\[(\0)\]|([^@:]+))(?:@.*)?(?::([0-9]+))?").fullmatch
    monkeypatch.setattr(urls, "_AUTHORITY", loose)
    monkeypatch.setattr(urls, "_SCHEME", re.compile(r"([a-z]+)://([^/@]+)(.*)").fullmatch)

    assert parse_url(text).host == "allowed.com"
    assert urlsplit(text).hostname == "evil.com"


# B03


@pytest.mark.parametrize(
    "host",
    [
        "bücher.example",
        "ｅxample.com",
        "example。com",
        "example．com",
        "exam\u00adple.com",
        "exam\u200bple.com",
        "straße.de",
        "ﬁ.com",
        "еxample.com",
        "xn--.com",
        "xn--a.com",
        "xn--example-.com",
        "xn--localhost-.com",
        "xn--bcher-kva-.com",
        "xn--BCHER-KVA\u00df.com",
        "xn--99999999.com",
        "xn--0000000000000000000000000000000000000000000000000000000.com",
        "ab--cd.com",
        "zz--bcher-kva.example",
        "a.zz--zz.com",
    ],
    ids=ascii,
)
def test_b03_other_alphabets_come_as_true_a_labels_or_not_at_all(host: str) -> None:
    """Non-ASCII names, false A-labels and reserved labels are refused."""
    assert refused(f"https://{host}/") is ReasonCode.URL


def test_b03_true_a_labels_pass() -> None:
    """A-labels that encode something pass, in any ASCII case."""
    assert place("https://XN--BCHER-KVA.example")[1] == "xn--bcher-kva.example"
    assert place("https://xn--strae-oqa.de")[1] == "xn--strae-oqa.de"
    assert place("https://xn--fiqs8s.xn--fiqs8s")[1] == "xn--fiqs8s.xn--fiqs8s"


def test_b03_negative_control() -> None:
    """Python's own IDNA folds the ideographic dot and ß: two spellings become one name."""
    assert "example。com".encode("idna") == b"example.com"
    assert "straße.de".encode("idna") == b"strasse.de"


# B04


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f.1",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "127.0.1",
        "0",
        "00",
        "0x",
        "0x0",
        "1.2.3",
        "1.2.3.4.5",
        "256.1.1.1",
        "1.2.3.256",
        "1.2.3.04",
        "01.2.3.4",
        "1.2.3.0x4",
        "1.2.3.4.",
        "a.1",
        "example.123",
        "example.com.0x7f",
        "0X7F.1",
        "1.2.3.-4",
        "１２７.0.0.1",
        "127。0。0。1",
        "①②⑦.0.0.1",
        "1.2.3.4.example.5",
        "4294967296",
        "1..2.3",
        "0x7f.0x0.0x0.0x1",
    ],
)
def test_b04_odd_numeric_hosts_are_refused(host: str) -> None:
    """A last label that looks like a number must end a strict dotted quad."""
    assert refused(f"http://{host}/") is ReasonCode.URL
    assert refused(host, allow_bare=True) is ReasonCode.URL


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "255.255.255.255", "1.20.199.249"])
def test_b04_dotted_quads_are_addresses(host: str) -> None:
    """A strict dotted quad is an address literal."""
    assert place(f"http://{host}") == ("http", host, 80, True)


@pytest.mark.parametrize(
    "host", ["1.example", "127.0.0.1.example.com", "0x7f.example", "123a", "a1"]
)
def test_b04_numbers_elsewhere_are_names(host: str) -> None:
    """Numbers before the last label make no address."""
    assert place(f"http://{host}") == ("http", host, 80, False)


@pytest.mark.parametrize(
    "text",
    [
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "::127.0.0.1",
        "::8.8.8.8",
        "64:ff9b::8.8.8.8",
        "2002:808:808::",
        "2001::1",
        "64:ff9b:1::1",
        "::ffff:0:0",
        "::2",
    ],
)
def test_b05_second_names_for_ipv4_addresses_are_refused(text: str) -> None:
    """A literal that carries an IPv4 address would slip past a directive on that address."""
    assert refused(f"http://[{text}]/") is ReasonCode.URL


# B08


@pytest.mark.parametrize(
    "text",
    [
        "",
        "file:///etc/passwd",
        "gopher://example.com/",
        "ftp://example.com/",
        "ws://example.com",
        "javascript://example.com",
        "data:text/html,x",
        "//evil.com",
        "///evil.com",
        "/evil.com",
        "http:evil.com",
        "http:/evil.com",
        "http:///evil.com",
        "http://",
        "http://?x",
        "http://#x",
        "http://:80",
        "://evil.com",
        "http//evil.com",
        "http::///evil.com",
        "httpx://evil.com",
        "h ttp://evil.com",
        "http+unix://evil.com",
        "hTtPs:evil.com",
        "view-source:http://evil.com",
        "http://http://evil.com",
        "evil.com",
        "evil.com:80",
    ],
)
def test_b08_other_schemes_and_missing_authorities_are_refused(text: str) -> None:
    """Only http and https, with a host after two slashes."""
    assert refused(text) is ReasonCode.URL


@pytest.mark.parametrize("scheme", ["http", "HTTP", "HtTp"])
def test_b08_scheme_case_is_folded_before_the_list(scheme: str) -> None:
    """The scheme list is applied after lower-casing."""
    assert place(f"{scheme}://example.com")[0] == "http"


@pytest.mark.parametrize("value", [None, 5, b"http://a.example", ["http://a.example"]])
def test_b08_other_types_are_refused(value: Any) -> None:
    """What is no text is refused by the domain error."""
    assert refused(value) is ReasonCode.URL


# Bare hosts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Example.com.", Destination(scheme="", host="example.com", port=0)),
        ("example.com:8443", Destination(scheme="", host="example.com", port=8443)),
        ("10.0.0.1", Destination(scheme="", host="10.0.0.1", port=0, is_ip=True)),
        ("[::1]:22", Destination(scheme="", host="::1", port=22, is_ip=True)),
        ("https://example.com", Destination(scheme="https", host="example.com", port=443)),
    ],
)
def test_bare_hosts_pass_only_when_allowed(text: str, expected: Destination) -> None:
    """For tools whose argument is a host; a URL still passes as a URL."""
    assert parse_url(text, allow_bare=True) == expected
    if not expected.scheme:
        assert refused(text) is ReasonCode.URL


@pytest.mark.parametrize(
    "text", ["::1", "a/b", "a?b", "a#b", "u@a", "a:", "a:0", ":80", "", "a b", "[::1"]
)
def test_odd_bare_hosts_are_refused(text: str) -> None:
    """A bare host obeys the same rules as an authority."""
    assert refused(text, allow_bare=True) is ReasonCode.URL


@settings(max_examples=300, deadline=None)
@given(
    st.text(max_size=30)
    | st.text("htps:/.@#?\\[]%-:0123456789abx", max_size=30).map("http://{}".format)
)
def test_no_text_raises_anything_but_shape_errors(text: str) -> None:
    """Any text is refused by the domain error, or its host is a folded piece of the text itself."""
    for allow_bare in (False, True):
        try:
            destination = parse_url(text, allow_bare=allow_bare)
        except ShapeError:
            continue
        assert ":" in destination.host or destination.host in text.lower()
        assert 0 <= destination.port <= 65535
        assert destination.host.isascii()


def test_refusals_repeat_nothing_of_the_url() -> None:
    """URLs hold secrets (userinfo, queries); the sentence never repeats them."""
    for text in (
        "https://user:hunter2@a.example",
        "https://hunter2_/",
        "http://a:hunter2",
        "hunter2",
    ):
        with pytest.raises(ShapeError) as caught:
            parse_url(text)
        assert "hunter2" not in str(caught.value)
