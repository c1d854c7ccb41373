"""Which draft is spoken (draft-ietf-webtrans-http3), and how it shows."""

from __future__ import annotations

import pytest

from cwt import webtransport as wt
from cwt.config import Config
from cwt.errors import ConnectError, H3ErrorCode
from cwt.h3.frames import FrameType
from cwt.h3.settings import parse_settings
from cwt.webtransport.dialects import DIALECTS, choose, offers
from tests.h3.support import frames, headers_frame
from tests.webtransport.support import SETTINGS, Pair, Rig, connect_lines

FLOW_CONTROL = (0x2B61, 0x2B64, 0x2B65)


def test_every_dialect_is_offered_with_flow_control_off() -> None:
    settings = dict(offers(5))
    assert settings == {
        0x2B603742: 1,
        0xC671706A: 5,
        0x14E9CD29: 1,
        0x2C7CF000: 1,
        0xFFD277: 1,
    }
    assert not any(key in settings for key in FLOW_CONTROL)


def test_what_the_server_sends() -> None:
    rig = Rig(None, Config(grease=False))
    ((kind, payload),) = frames(rig.peer.unread(3)[1:])
    assert kind == FrameType.SETTINGS
    sent = parse_settings(payload)
    assert sent[0x08] == sent[0x33] == 1
    assert {dialect.setting for dialect in DIALECTS} <= set(sent)


@pytest.mark.parametrize("name", SETTINGS)
def test_one_dialect(name: str) -> None:
    settings = dict(SETTINGS[name])
    for from_server in (False, True):
        dialect = choose(settings | {0x08: 1}, from_server=from_server)
        assert dialect is not None and dialect.name == name


def test_the_newest_of_several() -> None:
    settings = dict(offers(1)) | {0x33: 1, 0x08: 1}
    for expected in DIALECTS:
        assert choose(settings, from_server=True) is expected
        del settings[expected.setting]
    assert choose(settings, from_server=True) is None


@pytest.mark.parametrize("dialect", DIALECTS[:3], ids=lambda d: d.name)
def test_newer_dialects_need_datagrams_and_extended_connect(dialect: object) -> None:
    setting = dialect.setting  # type: ignore[attr-defined]
    assert choose({setting: 1, 0x08: 1}, from_server=True) is None
    assert choose({setting: 1, 0x33: 1}, from_server=True) is None
    assert choose({setting: 1, 0xFFD277: 1}, from_server=False) is dialect
    assert choose({setting: 0, 0x33: 1, 0x08: 1}, from_server=True) is None


def test_draft_02_needs_only_its_setting() -> None:
    assert choose({0x2B603742: 1}, from_server=True) is DIALECTS[3]


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("token", ["webtransport", "webtransport-h3"])
def test_a_server_takes_either_token_in_every_dialect(name: str, token: str) -> None:
    rig = Rig(SETTINGS[name])
    assert rig.saw(wt.Ready) == [wt.Ready(name)]
    session = rig.request(connect_lines(token))
    assert [event.session_id for event in rig.saw(wt.SessionRequested)] == [session]
    rig.wt.accept(session)
    assert rig.response(session) == {b":status": b"200"}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_client_speaks_the_servers_dialect(name: str) -> None:
    rig = Rig((*SETTINGS[name], (0x08, 1)), is_client=True)
    session = rig.wt.connect("localhost", "/x")
    assert rig.wt.dialect is not None
    request = rig.response(session)
    assert request[b":protocol"] == rig.wt.dialect.token
    assert (b"sec-webtransport-http3-draft02" in request) == (name == "draft-02")
    token = b"webtransport-h3" if name == "draft-15/16" else b"webtransport"
    assert request[b":protocol"] == token


def test_a_client_without_any_setting() -> None:
    """The RFC will not ask a client for one: the new token alone means the newest dialect."""
    rig = Rig(((0x33, 1),))
    assert rig.saw(wt.Ready) == [wt.Ready(None)]
    session = rig.request(connect_lines("webtransport-h3"))
    assert rig.saw(wt.SessionRequested)
    rig.wt.accept(session)
    rig = Rig(((0x33, 1),))
    session = rig.request(connect_lines("webtransport"))
    assert not rig.saw(wt.SessionRequested)
    assert rig.quic.sent_reset(session) == H3ErrorCode.MESSAGE_ERROR


def test_a_client_whose_settings_are_wrong() -> None:
    """It names a dialect, but not the datagrams which that needs."""
    rig = Rig(((0x2C7CF000, 1),))
    session = rig.request(connect_lines("webtransport-h3"))
    assert rig.quic.sent_reset(session) == H3ErrorCode.MESSAGE_ERROR
    assert rig.error is None


def test_a_server_without_webtransport() -> None:
    rig = Rig(((0x33, 1), (0x08, 1)), is_client=True)
    assert rig.saw(wt.Ready) == [wt.Ready(None)]
    with pytest.raises(ConnectError):
        rig.wt.connect("localhost", "/")


def test_wt_enabled_above_1_from_a_server() -> None:
    rig = Rig(((0x33, 1), (0x08, 1), (0x2C7CF000, 2)), is_client=True)
    assert rig.error == H3ErrorCode.SETTINGS_ERROR


def test_the_fields_of_draft_02() -> None:
    rig = Rig(SETTINGS["draft-02"])
    session = rig.request(connect_lines(sec_webtransport_http3_draft02="1"))
    rig.wt.accept(session)
    assert rig.response(session)[b"sec-webtransport-http3-draft"] == b"draft02"


def test_two_of_us_speak_the_newest() -> None:
    two = Pair()
    two.run()
    assert two.client_saw(wt.Ready) == two.server_saw(wt.Ready) == [wt.Ready("draft-15/16")]


def test_a_request_before_the_settings_waits_for_them() -> None:
    rig = Rig(None)
    first = rig.request()
    assert not rig.events
    rig.settings(SETTINGS["draft-02"])
    assert rig.saw(wt.Ready) == [wt.Ready("draft-02")]
    assert [event.session_id for event in rig.saw(wt.SessionRequested)] == [first]


def test_requests_before_the_settings_are_bounded() -> None:
    rig = Rig(None)
    streams = [rig.request() for _ in range(17)]
    assert rig.quic.sent_reset(streams[15]) is None
    assert rig.quic.sent_reset(streams[16]) == H3ErrorCode.REQUEST_REJECTED


def test_a_waiting_request_that_is_reset_is_forgotten() -> None:
    rig = Rig(None)
    stream = rig.request()
    rig.peer.stream_shutdown(stream, 1, 0x10C)
    rig.poll()
    rig.settings(SETTINGS["draft-02"])
    assert not rig.saw(wt.SessionRequested)
    assert rig.wt.sessions == 0


def test_other_requests_pass_through() -> None:
    from cwt.h3 import RequestReceived

    rig = Rig()
    rig.peer.raw_open(headers_frame(connect_lines("websocket")), bidirectional=True)
    rig.poll()
    (event,) = rig.saw(RequestReceived)
    assert dict(event.headers)[b":protocol"] == b"websocket"
