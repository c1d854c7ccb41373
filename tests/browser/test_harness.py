"""The harness itself: what goes in, what comes out, what is reported when it goes wrong."""

from __future__ import annotations

import pytest

from tests.browser.harness import Browser, ScriptError

pytestmark = pytest.mark.browser


async def test_values_go_in_and_results_come_out(browser: Browser) -> None:
    assert await browser.run("return {sum: a + b, text};", a=1, b=2, text="é") == {
        "sum": 3,
        "text": "é",
    }


async def test_nothing_returned_is_none(browser: Browser) -> None:
    assert await browser.run("await sleep(1);") is None


async def test_a_throwing_script_raises(browser: Browser) -> None:
    with pytest.raises(ScriptError, match="broken") as caught:
        await browser.run("throw new TypeError('broken');")
    assert caught.value.name == "TypeError"


async def test_a_script_that_hangs_times_out(browser: Browser) -> None:
    with pytest.raises(TimeoutError, match=browser.name):
        await browser.run("await sleep(1500);", timeout=0.2)
    assert await browser.run("return 1;") == 1


async def test_webtransport_is_there(browser: Browser) -> None:
    assert await browser.run("return typeof WebTransport;") == "function"
