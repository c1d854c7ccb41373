"""qlog: files that say what happened in a connection, for tools such as qvis and ``cwt qlog``.

Every connection writes one when ``TransportConfig.qlog_dir``, or the environment variable QLOGDIR, names
a directory; ``quic.Connection.set_qlog`` gives one connection a log of its own.
"""

from __future__ import annotations

from cwt.qlog.files import LEVELS, QlogFile, start

__all__ = ["LEVELS", "QlogFile", "start"]
