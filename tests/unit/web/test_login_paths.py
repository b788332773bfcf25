# SPDX-License-Identifier: Apache-2.0
"""Where a sign-in leads: to a path of the console, and nowhere else."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote, urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.clock import ManualClock
from sidecar.web import login
from sidecar.web.loginports import local_path
from tests.support.console_login import LoginConsole
from tests.support.passkeys import ORIGIN

GOOD = [
    "/",
    "/approvals",
    "/approvals/apr_0123",
    "/agents/billing-bot?tab=tokens",
    "/audit?tool=http%2Fget&q=a%20b&next=//x",
    "/decisions/dec_1?x=1&y=%E2%82%AC",
    "/login/passkeys",
    "/files/100%25",
    "/caf%C3%A9",
]
BAD = [
    "",
    "//evil.test",
    "///evil.test",
    "/\\evil.test",
    "\\\\evil.test",
    "\\/evil.test",
    "/\\/evil.test",
    "https:",
    "https:evil.test",
    "https://evil.test",
    "http:/evil.test",
    "javascript:alert(1)",
    "data:text/html,x",
    "%2f%2fevil.test",
    "/%2fevil.test",
    "/%2Fevil.test",
    "/%252fevil.test",
    "/%25252fevil.test",
    "/%5cevil.test",
    "/%255cevil.test",
    "/%2525252525252fevil.test",
    "/a//b",
    "/./evil",
    "/.//evil.test",
    "/..//evil.test",
    "/a/../../b",
    "/a/%2e%2e//b",
    "/%2e%2e/b",
    "/\tevil",
    "/\x00",
    "/a\nSet-Cookie: x=1",
    "/%0d%0aSet-Cookie:x",
    "/%09/evil.test",
    " //evil.test",
    "/ /evil.test",
    "/a#b",
    "/a'b",
    '/a"b',
    "/<script>",
    "/\u2215evil.test",
    "/\uff0fevil.test",
    "/\u202e",
    "/%ff",
    "/%",
    "evil.test",
    "@evil.test",
    "/login",
    "/login?next=/x",
    "/login/oidc?provider=a",
    "/%6cogin",
    "/logout",
    "/enrol/secret",
    "/" + "a" * 600,
    "/" + "a/" * 300,
]


@pytest.mark.parametrize("path", GOOD)
def test_a_path_of_the_console_is_kept(path: str) -> None:
    """As it was written."""
    assert local_path(path) == path


@pytest.mark.parametrize("path", BAD)
def test_anything_else_leads_home(path: str) -> None:
    """Another host, another scheme, a disguise of either, or a step of signing in."""
    assert local_path(path) == "/"


@given(st.text(alphabet="/\\.%25fFcC09eEvil:?#@ \t\n;=&", max_size=40))
def test_whatever_is_kept_stays_on_the_console(text: str) -> None:
    """However a browser joins it to the console's address, the host is the console's."""
    kept = local_path(text)

    for spelling in (kept, kept.replace("\\", "/")):
        joined = urlsplit(urljoin(f"{ORIGIN}/login", spelling))
        assert (joined.scheme, joined.netloc) == ("https", "console.example")
    assert re.fullmatch(r"/(?![/\\]).*|/", kept)


@pytest.mark.parametrize("path", ["//evil.test", "/\\evil.test", "https://evil.test", "/%2fevil"])
async def test_no_way_of_signing_in_leads_elsewhere(tmp_path: Path, path: str) -> None:
    """By passkey, already signed in, and by the reload that a foreign link causes."""
    console = await LoginConsole(tmp_path / "passkeys.db", ManualClock()).start()
    device = await console.desk.enrol("alice")
    browser = console.browser()
    wanted = quote(path, safe="")

    reload = await browser.get(f"/login?next={wanted}", sec_fetch_site="cross-site")
    signed = await browser.sign_in(device, wanted=path)
    again = await browser.get(f"/login?next={wanted}")
    listed = await browser.get(f"/login/passkeys?next={wanted}")
    await console.close()

    assert reload.headers["Refresh"] == "0; url=/login?next=%2F"
    assert signed.headers["Location"] == "/"
    assert again.headers["Location"] == "/"
    assert "evil" not in listed.text


async def test_no_way_of_signing_in_leads_elsewhere_negative_control(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If any text were taken as a path, the sign-in would lead to another host."""
    monkeypatch.setattr(login, "local_path", lambda text: text)
    console = await LoginConsole(tmp_path / "passkeys.db", ManualClock()).start()
    device = await console.desk.enrol("alice")

    signed = await console.browser().sign_in(device, wanted="//evil.test")
    await console.close()

    assert signed.headers["Location"] == "//evil.test"
