"""Explicit congestion notification (RFC 9000 Section 13.4 and Appendix A.4)."""

from __future__ import annotations

import pytest

from cwt._core.recovery.ecn import Ecn
from cwt.config import TransportConfig
from tests._core.raw_peer import INITIAL, ONE_RTT, PING, RawClient, ack, server_endpoint
from tests._core.support import connected

CONFIG = TransportConfig(grease=False, mtu_discovery=False, pacing=False)
ECT_0 = 2


def test_ten_packets_are_a_test() -> None:
    ecn = Ecn()
    for _ in range(10):
        assert ecn.codepoint(0) == ECT_0
        ecn.on_sent()
    assert ecn.codepoint(0) == 0
    assert ecn.name() == "unknown"


def test_a_test_ends_after_three_times_the_probe_timeout() -> None:
    ecn = Ecn()
    ecn.on_sent()
    assert ecn.codepoint(1) == ECT_0
    assert ecn.codepoint(2) == 0
    assert ecn.codepoint(0) == 0
    assert ecn.name() == "unknown"


def test_off_is_off() -> None:
    client, server = connected(TransportConfig(ecn=False))
    assert set(client.codepoints) == {0}
    assert server.stats().ecn == "off"
    assert Ecn(False).codepoint(0) == 0


def test_the_handshake_is_marked_and_marks_are_counted_by_space() -> None:
    client = RawClient(server_endpoint(CONFIG)).connect()
    assert set(client.codepoints) == {ECT_0}
    assert all(client.marked)
    client = RawClient(server_endpoint(CONFIG))
    client.inject(client.padded(INITIAL, PING), ecn=3)
    client.inject(client.padded(INITIAL, PING), ecn=ECT_0)
    client.collect()
    assert client.frames(2)[-1][3] == (1, 0, 1)


class Sender:
    """A server under test that has sent 12 packets of data and got no ACK for anything in 1-RTT."""

    def __init__(self) -> None:
        self.client, self.connection = connected(CONFIG)
        stream_id = self.connection.open_stream()
        assert stream_id is not None
        self.stream_id = stream_id
        self.send(12)

    def send(self, packets: int) -> list[int]:
        """Send *packets* more; their ECN bits."""
        before = len(self.client.codepoints)
        for _ in range(packets):
            self.connection.stream_send(self.stream_id, b"x" * 10)
            self.client.collect()
        assert len(self.client.codepoints) - before == packets
        return self.client.codepoints[before:]

    def ack(self, *ecn: int, below: int = 0) -> str:
        """Acknowledge all but the last *below* packets, with these counts; the state it leads to."""
        self.client.now += 0.05
        largest = self.client.largest[ONE_RTT] - below
        self.client.send(ONE_RTT, ack(largest, largest, ecn=ecn))
        return self.state

    @property
    def marked(self) -> int:
        """How many packets of 1-RTT were sent with ECT(0)."""
        return len(self.client.marked[ONE_RTT])

    @property
    def state(self) -> str:
        return self.connection.stats().ecn

    @property
    def window(self) -> int:
        return self.connection.stats().congestion_window


@pytest.fixture
def sender() -> Sender:
    return Sender()


def test_counts_that_fit_make_a_path_capable(sender: Sender) -> None:
    assert sender.state == "unknown"  # the handshake and the first of these were the test
    assert sender.send(2) == [0, 0]
    assert sender.ack(sender.marked, 0, 0) == "capable"
    assert sender.send(3) == [ECT_0] * 3


def test_an_acknowledgement_without_counts_fails(sender: Sender) -> None:
    assert sender.ack() == "failed"
    assert sender.send(3) == [0] * 3


@pytest.mark.parametrize(
    ("ect0", "ect1", "ce"),
    [
        pytest.param(-100, 0, 0, id="bleached"),
        pytest.param(-100, 8, 0, id="ECT(1)"),
        pytest.param(0, 1, 0, id="ECT(1)-besides"),
        pytest.param(-1, 0, 0, id="too-few"),
        pytest.param(1, 0, 0, id="too-many"),
        pytest.param(0, 0, 1, id="too-many-with-CE"),
        pytest.param((1 << 62) - 100, 0, (1 << 62) - 1, id="absurd"),
    ],
)
def test_counts_that_cannot_be_fail(sender: Sender, ect0: int, ect1: int, ce: int) -> None:
    window = sender.window
    assert sender.ack(max(sender.marked + ect0, 0), ect1, ce) == "failed"
    assert sender.send(2) == [0, 0]
    assert sender.window >= window
    assert sender.connection.stats().packets_congested == 0


def test_counts_that_decrease_fail(sender: Sender) -> None:
    assert sender.ack(sender.marked - 1, 0, 1) == "capable"
    sender.send(3)
    assert sender.ack(sender.marked, 0, 0) == "failed"


def test_an_overtaken_acknowledgement_says_nothing(sender: Sender) -> None:
    assert sender.ack(sender.marked, 0, 0) == "capable"
    assert sender.ack(1, 0, 0, below=1) == "capable"


def test_a_mark_shrinks_the_window_once_a_round_trip(sender: Sender) -> None:
    sender.ack(sender.marked, 0, 0)
    sender.send(6)
    window = sender.window
    assert sender.ack(sender.marked - 4, 0, 1, below=3) == "capable"
    smaller = sender.window
    assert smaller < window
    assert sender.ack(sender.marked - 2, 0, 2) == "capable"
    assert sender.window == smaller  # sent before it shrank
    stats = sender.connection.stats()
    assert (stats.packets_congested, stats.packets_lost) == (2, 0)


def test_a_router_that_marks_everything_is_not_believed(sender: Sender) -> None:
    for _ in range(3):
        sender.ack(0, 0, sender.marked)
        sender.send(5)
    assert sender.state == "failed"


def lose_until_bare(sender: Sender) -> None:
    """Lose 11 packets and the probes after them, but for the first probe without a mark."""
    counts = (sender.marked, 0, 0)
    sender.send(11)
    while sender.client.codepoints[-1]:
        sender.client.advance(0.1)
    sender.client.send(ONE_RTT, ack(sender.client.largest[ONE_RTT], ecn=counts))


def test_a_path_that_loses_what_is_marked_is_tested_again(sender: Sender) -> None:
    sender.ack(sender.marked, 0, 0)
    lose_until_bare(sender)
    assert sender.state == "testing"
    assert sender.send(1) == [ECT_0]
    lose_until_bare(sender)
    assert sender.state == "failed"
    assert sender.send(1) == [0]


def test_a_path_that_was_broken_is_capable_again(sender: Sender) -> None:
    sender.ack(sender.marked, 0, 0)
    lost = sender.marked
    lose_until_bare(sender)
    lost = sender.marked - lost
    sender.send(12)
    largest = sender.client.largest[ONE_RTT]
    sender.client.send(ONE_RTT, ack(largest, 11, ecn=(sender.marked - lost, 0, 0)))
    assert sender.state == "capable"
