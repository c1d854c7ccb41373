"""qlog: files that say what happened in a connection, for tools such as qvis and ``cwt qlog``.

Every connection writes one when ``TransportConfig.qlog_dir``, or the environment variable QLOGDIR, names
a directory; ``quic.Connection.set_qlog`` gives one connection a log of its own.  :func:`read` reads such
files, those of other implementations too, and :func:`check` compares one with the schema
(draft-ietf-quic-qlog-main-schema-14, -quic-events-13, -h3-events-13).
"""

from __future__ import annotations

from cwt.qlog.files import LEVELS, QlogFile
from cwt.qlog.reading import Event, Log, QlogError, read
from cwt.qlog.schema import check

__all__ = ["LEVELS", "Event", "Log", "QlogError", "QlogFile", "check", "read"]
