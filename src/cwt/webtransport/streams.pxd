"""Streams of sessions (draft-ietf-webtrans-http3 Sections 4.2, 4.3 and 4.5)."""


cdef class Stream:
    cdef readonly object stream_id
    cdef readonly object session_id
    cdef readonly bint reading               # the application may get more
    cdef readonly bint sending               # the application may write more
    cdef bint announced                      # the application knows of it
    cdef bint fin_pending                    # the end came with the preamble, and was not told yet
    cdef bint bare                           # we sent its preamble, and nothing after it
    cdef bint fin_waits                      # the end is sent once the preamble was taken
    cdef bint finished                       # all was written, and its end
    cdef Py_ssize_t preamble                 # bytes at the start that we sent before the application's
    cdef bytes unsent                        # of the preamble; None for nothing
    cdef public object reader                # who is told of news, if not the caller of poll
    cdef public object writer
    cdef Streams owner
    cdef dict siblings                       # the streams of its session, itself among them
    cdef object quic

    cpdef Py_ssize_t send(self, data, bint fin=*) except -1
    cpdef object recv(self, size_t max_length)
    cpdef object recv_into(self, buffer)
    cdef object take(self, read, argument, nothing)
    cpdef int reset(self, code) except -1
    cpdef int stop(self, code) except -1

    cpdef int release(self) except -1
    cdef bint flush(self) except -1
    cdef int refuse(self, code) except -1
    cdef int abandon(self, code) except -1
    cdef int reading_done(self) except -1
    cdef int sending_done(self) except -1
    cdef int forget_when_done(self) except -1


cdef class Streams:
    cdef object quic
    cdef list events
    cdef object place
    cdef dict by_id
    cdef readonly dict opening               # those whose session id is not all there, with their readers

    cdef Stream create(self, stream_id, session_id, bint reading, bint sending)
    cdef int placed(self, stream_id, session_id, bint fin) except -1
    cdef int read_session_id(self, stream_id, reader) except -1
