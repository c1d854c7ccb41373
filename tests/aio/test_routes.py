"""Which handler takes which path, and which pages may come in."""

from __future__ import annotations

import pytest

import cwt
from cwt.aio.routes import Origins, Routes


async def first(session: cwt.Session) -> None: ...


async def second(session: cwt.Session, name: str) -> None: ...


def test_exact_before_patterns_and_patterns_in_order() -> None:
    routes = Routes({"/{name}": second, "/a": first, "/{other:path}": first})
    assert routes.find("/a") == (first, {})
    assert routes.find("/b") == (second, {"name": "b"})
    assert routes.find("/b/c") == (first, {"other": "b/c"})
    assert routes.find("/") is None
    assert routes.find("") is None


def test_text_around_names_is_literal() -> None:
    routes = Routes({"/a.b/{x}-{y}": first})
    assert routes.find("/a.b/1-2") == (first, {"x": "1", "y": "2"})
    assert routes.find("/aXb/1-2") is None


@pytest.mark.parametrize("path", ["a", "/{", "/{1}", "/{x:int}", "/{x}/{x}"])
def test_impossible_routes(path: str) -> None:
    with pytest.raises(cwt.ConfigError):
        Routes({path: first})


def test_origins() -> None:
    assert Origins(None).allow("https://anything")
    nobody = Origins([])
    assert not nobody.allow("https://anything")
    assert nobody.allow(None)  # not a browser
    some = Origins(["https://A.example/"])
    assert some.allow("https://a.example")
    assert not some.allow("https://a.example.evil")
