"""Which stream sends next (RFC 9000 Section 2.3, RFC 9218 Section 10).

Lists through the streams themselves, each a circle of which the last link is known: adding, removing and
taking turns cost the same for any number of streams.  Streams of a group are in a heap of its own, their
order in it being told, and the group has one place among the others.
"""

from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    URGENCIES = 8
    FREE = 0                 # needs no credit of the connection: lost data, or an end alone
    FRESH = 8                # has new data
    UNLISTED = 16
    GROUPED = 17             # has new data, in a group that is in a list
    QUANTUM = 16384          # bytes of a turn: short turns would have the peer read in small pieces

cdef struct Group

# A stream's place in a schedule, or that of a group.
cdef struct Link:
    Link* next
    Link* previous
    PyObject* owner          # the stream; referenced while it is listed
    uint32_t turn            # bytes of the present turn
    uint8_t place            # the list it is in: FREE or FRESH plus urgency, or UNLISTED
    uint8_t urgency
    uint8_t incremental      # takes turns with others of its urgency (RFC 9218 Section 4.2)
    uint8_t is_group
    Group* group             # that it belongs to, NULL for none
    int64_t order            # in the group: higher ones go first
    uint64_t number          # then those that wait longer
    uint32_t index           # in the heap

cdef struct Group:
    Link link                # first: a link of a group is the group
    Link** members           # those with new data, a heap
    uint32_t count, room
    uint64_t next_number

cdef struct Schedule:
    Link* last[2 * URGENCIES]
    uint16_t ready           # a bit for each list that is not empty


cdef inline bint goes_before(const Link* a, const Link* b) noexcept nogil:
    return a.order > b.order or a.order == b.order and a.number < b.number


cdef inline void group_sift(Group* g, Link* link, uint32_t index) noexcept nogil:
    # *link* belongs at *index* or, if that is not in order, above or below.
    cdef uint32_t other
    while index and goes_before(link, g.members[(index - 1) // 2]):
        g.members[index] = g.members[(index - 1) // 2]
        g.members[index].index = index
        index = (index - 1) // 2
    while True:
        other = 2 * index + 1
        if other >= g.count:
            break
        if other + 1 < g.count and goes_before(g.members[other + 1], g.members[other]):
            other += 1
        if not goes_before(g.members[other], link):
            break
        g.members[index] = g.members[other]
        g.members[index].index = index
        index = other
    g.members[index] = link
    link.index = index


cdef inline void group_take_out(Group* g, Link* link) noexcept nogil:
    cdef Link* last
    g.count -= 1
    last = g.members[g.count]
    if last != link:
        group_sift(g, last, link.index)


cdef inline void schedule_remove(Schedule* s, Link* link) noexcept:
    if link.place == UNLISTED:
        return
    if link.place == GROUPED:
        link.place = UNLISTED
        group_take_out(link.group, link)
        if link.group.count == 0:
            schedule_remove(s, &link.group.link)
        Py_DECREF(<object>link.owner)
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
    cdef Group* g = link.group
    if link.place == place:
        return
    if g != NULL and kind == FRESH:
        if link.place == GROUPED:
            return
        Py_INCREF(<object>link.owner)
        schedule_remove(s, link)
        link.number = g.next_number
        g.next_number += 1
        g.count += 1                         # there is room: it was made when the stream joined
        group_sift(g, link, g.count - 1)
        link.place = GROUPED
        link.turn = 0
        schedule_put(s, &g.link, FRESH)
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
    cdef Link* link
    cdef uint16_t ready = s.ready if has_credit else s.ready & 0xFF
    if ready == 0:
        return NULL
    for urgency in range(URGENCIES):
        if ready >> urgency & 1:
            return s.last[FREE + urgency].next
        if ready >> (FRESH + urgency) & 1:
            link = s.last[FRESH + urgency].next
            return (<Group*>link).members[0] if link.is_group else link
    return NULL


cdef inline void schedule_spent(Schedule* s, Link* link, size_t size) noexcept nogil:
    # The first of its list has written *size* bytes: after a turn the next one follows.
    cdef Group* g
    if link.place == GROUPED:
        g = link.group
        link.turn += <uint32_t>size
        if link.turn >= QUANTUM:             # those of the same order take turns
            link.turn = 0
            link.number = g.next_number
            g.next_number += 1
            group_sift(g, link, link.index)
        link = &g.link
    link.turn += <uint32_t>size
    if link.turn >= QUANTUM and link.incremental:
        link.turn = 0
        s.last[link.place] = link


cdef inline void schedule_clear(Schedule* s) noexcept:
    cdef int place
    cdef Link* link
    for place in range(2 * URGENCIES):
        while s.last[place] != NULL:
            link = s.last[place]
            schedule_remove(s, (<Group*>link).members[0] if link.is_group else link)
