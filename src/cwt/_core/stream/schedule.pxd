"""Which stream sends next (RFC 9000 Section 2.3, RFC 9218 Section 10).

Lists through the streams themselves, each a circle of which the last link is known: adding, removing and
taking turns cost the same for any number of streams.
"""

from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uint8_t, uint16_t, uint32_t

cdef enum:
    URGENCIES = 8
    FREE = 0                 # needs no credit of the connection: lost data, or an end alone
    FRESH = 8                # has new data
    UNLISTED = 16
    QUANTUM = 16384          # bytes of a turn: short turns would have the peer read in small pieces

# A stream's place in a schedule.
cdef struct Link:
    Link* next
    Link* previous
    PyObject* owner          # the stream; referenced while it is listed
    uint32_t turn            # bytes of the present turn
    uint8_t place            # the list it is in: FREE or FRESH plus urgency, or UNLISTED
    uint8_t urgency
    bint incremental         # takes turns with others of its urgency (RFC 9218 Section 4.2)

cdef struct Schedule:
    Link* last[2 * URGENCIES]
    uint16_t ready           # a bit for each list that is not empty


cdef inline void schedule_remove(Schedule* s, Link* link) noexcept:
    if link.place == UNLISTED:
        return
    if link.next == link:
        s.last[link.place] = NULL
        s.ready &= <uint16_t>~(1 << link.place)
    else:
        link.previous.next = link.next
        link.next.previous = link.previous
        if s.last[link.place] == link:
            s.last[link.place] = link.previous
    link.place = UNLISTED
    Py_DECREF(<object>link.owner)


cdef inline void schedule_put(Schedule* s, Link* link, int kind) noexcept:
    # At the end of the list of *kind*, FREE or FRESH, unless it is in that already.
    cdef uint8_t place = <uint8_t>(kind + link.urgency)
    cdef Link* last = s.last[place]
    if link.place == place:
        return
    Py_INCREF(<object>link.owner)
    schedule_remove(s, link)
    if last == NULL:
        link.next = link
        link.previous = link
    else:
        link.next = last.next
        link.previous = last
        last.next.previous = link
        last.next = link
    s.last[place] = link
    s.ready |= <uint16_t>(1 << place)
    link.place = place
    link.turn = 0


cdef inline Link* schedule_first(const Schedule* s, bint has_credit) noexcept nogil:
    # Whose turn it is, NULL for nobody: the lowest urgency first, there what needs no credit.
    cdef int urgency
    cdef uint16_t ready = s.ready if has_credit else s.ready & 0xFF
    if ready == 0:
        return NULL
    for urgency in range(URGENCIES):
        if ready >> urgency & 1:
            return s.last[FREE + urgency].next
        if ready >> (FRESH + urgency) & 1:
            return s.last[FRESH + urgency].next
    return NULL


cdef inline void schedule_spent(Schedule* s, Link* link, size_t size) noexcept nogil:
    # The first of its list has written *size* bytes: after a turn the next one follows.
    link.turn += <uint32_t>size
    if link.turn >= QUANTUM and link.incremental:
        link.turn = 0
        s.last[link.place] = link


cdef inline void schedule_clear(Schedule* s) noexcept:
    cdef int place
    for place in range(2 * URGENCIES):
        while s.last[place] != NULL:
            schedule_remove(s, s.last[place])
