"""What a stream is to the application (RFC 9000 Section 3)."""

from cwt.webtransport.streams cimport Stream as SessionStream


cdef class SendState:
    cdef readonly object session
    cdef readonly object stream_id
    cdef readonly object rest                # memoryview of what QUIC has not taken; None for nothing
    cdef readonly size_t writes              # that left a rest: a writer knows by it whether it is its own
    cdef readonly bint is_open               # takes data: neither finish() nor reset(), nothing failed
    cdef readonly bint fin_sent
    cdef readonly bint is_done               # all is acknowledged with FIN, or the stream was abandoned
    cdef readonly object error
    cdef readonly int urgency
    cdef readonly bint incremental
    cdef readonly object order
    cdef readonly object group
    cdef readonly list waiters               # None for nobody
    cdef object connection
    cdef SessionStream stream

    cdef int send_fin(self) except -1
    cdef int check_stopped(self) except -1
    cdef int forget(self) except -1
    cdef int wake(self) except -1


cdef class RecvState:
    cdef readonly object session
    cdef readonly object stream_id
    cdef readonly bytearray ahead            # read from QUIC by a call that needed more; None for nothing
    cdef readonly bint eof                   # FIN was taken from QUIC
    cdef readonly bint is_done
    cdef readonly object error
    cdef readonly object waiter
    cdef object connection
    cdef SessionStream stream

    cpdef bytes receive(self, size_t max_length)
    cpdef bytes take(self, Py_ssize_t count)
    cdef bytes end(self)
    cdef int forget(self) except -1


cdef class Stream:
    cdef object __weakref__
    cdef readonly SendState _tx              # None when we only receive
    cdef readonly RecvState _rx              # None when we only send
