"""``cwt interop``: an endpoint for the QUIC interop runner (github.com/quic-interop/quic-interop-runner).

Its contract: ROLE, TESTCASE, REQUESTS, SSLKEYLOGFILE, QLOGDIR, CLIENT_PARAMS and SERVER_PARAMS in the
environment; files in /www, /downloads and /certs; exit status 0, 1, or 127 for a case that this
implementation does not have.
"""

from __future__ import annotations

from cwt.cli.interop.command import command

__all__ = ["command"]
