"""UDP with batches and ancillary data as the operating system offers it (sendmsg(2), cmsg(3), udp(7)).

The C text keeps the macros and the differences between systems; each function returns a count, or an
errno as a negative number. What a system lacks is compiled out and reported as missing.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

cdef extern from *:
    """
    #if defined(__APPLE__) && !defined(__APPLE_USE_RFC_3542)
    #define __APPLE_USE_RFC_3542
    #endif
    #include <arpa/inet.h>
    #include <errno.h>
    #include <net/if.h>
    #include <netinet/in.h>
    #include <netinet/ip.h>
    #include <netinet/udp.h>
    #include <stdint.h>
    #include <string.h>
    #include <sys/socket.h>
    #include <sys/uio.h>

    #if defined(__linux__)
    #define CWT_LINUX 1
    #ifndef UDP_SEGMENT
    #define UDP_SEGMENT 103
    #endif
    #ifndef UDP_GRO
    #define UDP_GRO 104
    #endif
    #else
    #define CWT_LINUX 0
    #endif

    #define CWT_BATCH 64

    typedef struct {
        uint8_t address[16];    /* IPv4: the first four bytes, the rest zero */
        uint32_t scope;         /* interface of a link-local IPv6 address */
        uint16_t port;          /* host byte order */
        uint16_t family;        /* AF_INET or AF_INET6; 0: no address */
    } cwt_peer;

    typedef struct {
        uint8_t *data;
        size_t length;
        size_t segment_size;
        int ecn;
        int truncated;
        cwt_peer source;
        cwt_peer destination;   /* without the port */
    } cwt_message;

    typedef struct {
        const uint8_t *data;
        size_t length;
        size_t segment_size;    /* 0: one datagram */
        int ecn;
        cwt_peer to;
        cwt_peer from;
    } cwt_request;

    typedef union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } cwt_sockaddr;

    typedef union {
        struct cmsghdr align;
        uint8_t bytes[192];
    } cwt_control;

    static int cwt_is_mapped(const uint8_t *address) {
        static const uint8_t prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
        return memcmp(address, prefix, 12) == 0;
    }

    static void cwt_set_v6(cwt_peer *peer, const uint8_t *address, uint32_t scope) {
        int local = address[0] == 0xfe && (address[1] & 0xc0) == 0x80;
        if (cwt_is_mapped(address)) {
            memset(peer->address, 0, 16);
            memcpy(peer->address, address + 12, 4);
            peer->family = AF_INET;
            peer->scope = 0;
        } else {
            memcpy(peer->address, address, 16);
            peer->family = AF_INET6;
            peer->scope = local ? scope : 0;
        }
    }

    static void cwt_set_v4(cwt_peer *peer, const void *address) {
        memset(peer->address, 0, 16);
        memcpy(peer->address, address, 4);
        peer->family = AF_INET;
        peer->scope = 0;
    }

    static void cwt_from_sockaddr(cwt_peer *peer, const cwt_sockaddr *from) {
        memset(peer, 0, sizeof *peer);
        if (from->any.sa_family == AF_INET) {
            cwt_set_v4(peer, &from->v4.sin_addr);
            peer->port = ntohs(from->v4.sin_port);
        } else if (from->any.sa_family == AF_INET6) {
            cwt_set_v6(peer, from->v6.sin6_addr.s6_addr, from->v6.sin6_scope_id);
            peer->port = ntohs(from->v6.sin6_port);
        }
    }

    /* 0: this socket's family cannot reach the peer. */
    static socklen_t cwt_to_sockaddr(cwt_sockaddr *to, const cwt_peer *peer, int family) {
        memset(to, 0, sizeof *to);
        if (family == AF_INET) {
            to->v4.sin_family = AF_INET;
            to->v4.sin_port = htons(peer->port);
            memcpy(&to->v4.sin_addr, peer->address, 4);
            return peer->family == AF_INET ? sizeof to->v4 : 0;
        }
        to->v6.sin6_family = AF_INET6;
        to->v6.sin6_port = htons(peer->port);
        to->v6.sin6_scope_id = peer->scope;
        if (peer->family == AF_INET) {
            to->v6.sin6_addr.s6_addr[10] = to->v6.sin6_addr.s6_addr[11] = 0xff;
            memcpy(to->v6.sin6_addr.s6_addr + 12, peer->address, 4);
        } else {
            memcpy(to->v6.sin6_addr.s6_addr, peer->address, 16);
        }
        return sizeof to->v6;
    }

    static void cwt_parse_control(struct msghdr *header, cwt_message *message) {
        struct cmsghdr *c;
        for (c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
            const void *value = CMSG_DATA(c);
            size_t room = c->cmsg_len - CMSG_LEN(0);
            int number = 0;
            if (c->cmsg_level == IPPROTO_IP) {
    #if defined(IP_RECVTOS)
                if (c->cmsg_type == IP_TOS || c->cmsg_type == IP_RECVTOS) {
                    message->ecn = *(const uint8_t *)value & 3;
                    continue;
                }
    #endif
    #if defined(IP_PKTINFO)
                if (c->cmsg_type == IP_PKTINFO && room >= sizeof(struct in_pktinfo)) {
                    struct in_pktinfo info;
                    memcpy(&info, value, sizeof info);
                    cwt_set_v4(&message->destination, &info.ipi_addr);
                }
    #endif
            } else if (c->cmsg_level == IPPROTO_IPV6) {
                if (c->cmsg_type == IPV6_TCLASS && room >= sizeof number) {
                    memcpy(&number, value, sizeof number);
                    message->ecn = number & 3;
                } else if (c->cmsg_type == IPV6_PKTINFO && room >= sizeof(struct in6_pktinfo)) {
                    struct in6_pktinfo info;
                    memcpy(&info, value, sizeof info);
                    cwt_set_v6(&message->destination, info.ipi6_addr.s6_addr, info.ipi6_ifindex);
                }
            }
    #if CWT_LINUX
            else if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO && room >= 2) {
                if (room >= sizeof number) {
                    memcpy(&number, value, sizeof number);
                } else {
                    uint16_t small;
                    memcpy(&small, value, 2);
                    number = small;
                }
                if (number > 0)
                    message->segment_size = (size_t)number;
            }
    #endif
        }
    }

    static void cwt_prepare(
        struct msghdr *header, struct iovec *vector, cwt_sockaddr *from, cwt_control *control,
        cwt_message *message, size_t room
    ) {
        memset(header, 0, sizeof *header);
        vector->iov_base = message->data;
        vector->iov_len = room;
        header->msg_iov = vector;
        header->msg_iovlen = 1;
        header->msg_name = from;
        header->msg_namelen = sizeof *from;
        header->msg_control = control;
        header->msg_controllen = sizeof *control;
    }

    static void cwt_finish(
        struct msghdr *header, cwt_sockaddr *from, cwt_message *message, size_t length
    ) {
        message->length = length;
        message->segment_size = length;
        message->ecn = 0;
        message->truncated = (header->msg_flags & MSG_TRUNC) != 0;
        memset(&message->destination, 0, sizeof message->destination);
        if (header->msg_namelen == 0)
            from->any.sa_family = AF_UNSPEC;
        cwt_from_sockaddr(&message->source, from);
        cwt_parse_control(header, message);
        if (message->segment_size > length)
            message->segment_size = length;
    }

    static int cwt_recvmsg(int fd, cwt_message *message, size_t room) {
        struct msghdr header;
        struct iovec vector;
        cwt_sockaddr from;
        cwt_control control;
        ssize_t length;
        cwt_prepare(&header, &vector, &from, &control, message, room);
        length = recvmsg(fd, &header, MSG_DONTWAIT);
        if (length < 0)
            return -errno;
        cwt_finish(&header, &from, message, (size_t)length);
        return 1;
    }

    static int cwt_recvmmsg(int fd, cwt_message *messages, int count, size_t room) {
    #if CWT_LINUX
        struct mmsghdr headers[CWT_BATCH];
        struct iovec vectors[CWT_BATCH];
        cwt_sockaddr from[CWT_BATCH];
        cwt_control controls[CWT_BATCH];
        int i, received;
        for (i = 0; i < count; i++)
            cwt_prepare(
                &headers[i].msg_hdr, &vectors[i], &from[i], &controls[i], &messages[i], room);
        received = recvmmsg(fd, headers, (unsigned)count, MSG_DONTWAIT, NULL);
        if (received < 0)
            return -errno;
        for (i = 0; i < received; i++)
            cwt_finish(&headers[i].msg_hdr, &from[i], &messages[i], headers[i].msg_len);
        return received;
    #else
        (void)fd; (void)messages; (void)count; (void)room;
        return -ENOSYS;
    #endif
    }

    static void *cwt_add_control(
        struct msghdr *header, struct cmsghdr **c, int level, int type, size_t size
    ) {
        *c = *c ? CMSG_NXTHDR(header, *c) : CMSG_FIRSTHDR(header);
        (*c)->cmsg_level = level;
        (*c)->cmsg_type = type;
        (*c)->cmsg_len = CMSG_LEN(size);
        return CMSG_DATA(*c);
    }

    static int cwt_address_header(
        struct msghdr *header, cwt_sockaddr *name, cwt_control *control, int family,
        const cwt_peer *to, const cwt_peer *from, int ecn, size_t segment_size
    ) {
        struct cmsghdr *c = NULL;
        size_t used = 0;
        memset(header, 0, sizeof *header);
        memset(control, 0, sizeof *control);
        header->msg_name = name;
        header->msg_namelen = cwt_to_sockaddr(name, to, family);
        if (!header->msg_namelen || (from->family && from->family != to->family))
            return -EAFNOSUPPORT;
        header->msg_control = control;
        header->msg_controllen = sizeof *control;
        if (ecn && to->family == AF_INET) {
            memcpy(cwt_add_control(header, &c, IPPROTO_IP, IP_TOS, sizeof ecn), &ecn, sizeof ecn);
            used += CMSG_SPACE(sizeof ecn);
        } else if (ecn) {
            memcpy(
                cwt_add_control(header, &c, IPPROTO_IPV6, IPV6_TCLASS, sizeof ecn), &ecn,
                sizeof ecn);
            used += CMSG_SPACE(sizeof ecn);
        }
        if (from->family == AF_INET6) {
            struct in6_pktinfo info;
            memset(&info, 0, sizeof info);
            memcpy(&info.ipi6_addr, from->address, 16);
            info.ipi6_ifindex = from->scope;
            memcpy(
                cwt_add_control(header, &c, IPPROTO_IPV6, IPV6_PKTINFO, sizeof info), &info,
                sizeof info);
            used += CMSG_SPACE(sizeof info);
        }
    #if defined(IP_PKTINFO)
        else if (from->family == AF_INET) {
            struct in_pktinfo info;
            memset(&info, 0, sizeof info);
            memcpy(&info.ipi_spec_dst, from->address, 4);
            memcpy(
                cwt_add_control(header, &c, IPPROTO_IP, IP_PKTINFO, sizeof info), &info,
                sizeof info);
            used += CMSG_SPACE(sizeof info);
        }
    #endif
    #if CWT_LINUX
        if (segment_size) {
            uint16_t size = (uint16_t)segment_size;
            memcpy(
                cwt_add_control(header, &c, IPPROTO_UDP, UDP_SEGMENT, sizeof size), &size,
                sizeof size);
            used += CMSG_SPACE(sizeof size);
        }
    #else
        (void)segment_size;
    #endif
        header->msg_controllen = used;
        if (!used)
            header->msg_control = NULL;
        return 0;
    }

    /* One datagram, or one for each segment of segment_size bytes when that is not 0. */
    static int cwt_sendmsg(
        int fd, int family, const cwt_peer *to, const cwt_peer *from, int ecn,
        const uint8_t *data, size_t length, size_t segment_size
    ) {
        struct msghdr header;
        struct iovec vector;
        cwt_sockaddr name;
        cwt_control control;
        int error = cwt_address_header(
            &header, &name, &control, family, to, from, ecn, segment_size);
        if (error)
            return error;
        vector.iov_base = (void *)data;
        vector.iov_len = length;
        header.msg_iov = &vector;
        header.msg_iovlen = 1;
        return sendmsg(fd, &header, MSG_DONTWAIT) < 0 ? -errno : 1;
    }

    /* Up to CWT_BATCH datagrams of segment_size bytes, the last maybe shorter: how many were taken. */
    static int cwt_sendmmsg(
        int fd, int family, const cwt_peer *to, const cwt_peer *from, int ecn,
        const uint8_t *data, size_t length, size_t segment_size
    ) {
    #if CWT_LINUX
        struct mmsghdr headers[CWT_BATCH];
        struct iovec vectors[CWT_BATCH];
        struct msghdr header;
        cwt_sockaddr name;
        cwt_control control;
        unsigned count = 0;
        int sent;
        int error = cwt_address_header(&header, &name, &control, family, to, from, ecn, 0);
        if (error)
            return error;
        for (; length && count < CWT_BATCH; count++) {
            size_t size = length < segment_size ? length : segment_size;
            vectors[count].iov_base = (void *)data;
            vectors[count].iov_len = size;
            header.msg_iov = &vectors[count];
            header.msg_iovlen = 1;
            headers[count].msg_hdr = header;
            headers[count].msg_len = 0;
            data += size;
            length -= size;
        }
        sent = sendmmsg(fd, headers, count, MSG_DONTWAIT);
        return sent < 0 ? -errno : sent;
    #else
        (void)fd; (void)family; (void)to; (void)from; (void)ecn;
        (void)data; (void)length; (void)segment_size;
        return -ENOSYS;
    #endif
    }

    /* Each request as it is, up to CWT_BATCH of them: how many were taken. */
    static int cwt_send_requests(
        int fd, int family, const cwt_request *requests, int count
    ) {
    #if CWT_LINUX
        struct mmsghdr headers[CWT_BATCH];
        struct iovec vectors[CWT_BATCH];
        cwt_sockaddr names[CWT_BATCH];
        cwt_control controls[CWT_BATCH];
        int ready = 0, sent;
        for (; ready < count && ready < CWT_BATCH; ready++) {
            const cwt_request *r = &requests[ready];
            struct msghdr *header = &headers[ready].msg_hdr;
            int error = cwt_address_header(
                header, &names[ready], &controls[ready], family, &r->to, &r->from, r->ecn,
                r->segment_size);
            if (error && !ready)
                return error;
            if (error)
                break;
            vectors[ready].iov_base = (void *)r->data;
            vectors[ready].iov_len = r->length;
            header->msg_iov = &vectors[ready];
            header->msg_iovlen = 1;
            headers[ready].msg_len = 0;
        }
        sent = sendmmsg(fd, headers, (unsigned)ready, MSG_DONTWAIT);
        return sent < 0 ? -errno : sent;
    #else
        (void)fd; (void)family; (void)requests; (void)count;
        return -ENOSYS;
    #endif
    }

    static int cwt_option(int fd, int level, int name, int value) {
        return setsockopt(fd, level, name, &value, sizeof value) < 0 ? -errno : 0;
    }

    static int cwt_has_gso(int fd) {
    #if CWT_LINUX
        int value;
        socklen_t size = sizeof value;
        return getsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &value, &size) == 0;
    #else
        (void)fd;
        return 0;
    #endif
    }

    static int cwt_set_gro(int fd, int on) {
    #if CWT_LINUX
        return cwt_option(fd, IPPROTO_UDP, UDP_GRO, on) == 0;
    #else
        (void)fd; (void)on;
        return 0;
    #endif
    }

    /* Ancillary data in, and no fragments out; what is missing is lived without. */
    static void cwt_set_options(int fd, int family) {
        if (family == AF_INET6) {
            cwt_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
            cwt_option(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
    #if defined(IPV6_PMTUDISC_PROBE)
            cwt_option(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
    #elif defined(IPV6_DONTFRAG)
            cwt_option(fd, IPPROTO_IPV6, IPV6_DONTFRAG, 1);
    #endif
        }
        /* On a dual-stack socket these are for its IPv4 traffic. */
    #if defined(IP_RECVTOS)
        cwt_option(fd, IPPROTO_IP, IP_RECVTOS, 1);
    #endif
    #if defined(IP_PMTUDISC_PROBE)
        cwt_option(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
    #elif defined(IP_DONTFRAG)
        cwt_option(fd, IPPROTO_IP, IP_DONTFRAG, 1);
    #endif
        if (family == AF_INET) {
    #if defined(IP_RECVPKTINFO)
            cwt_option(fd, IPPROTO_IP, IP_RECVPKTINFO, 1);
    #elif defined(IP_PKTINFO)
            cwt_option(fd, IPPROTO_IP, IP_PKTINFO, 1);
    #endif
        }
    }
    """
    enum: CWT_LINUX

    ctypedef struct Peer "cwt_peer":
        uint8_t[16] address
        uint32_t scope
        uint16_t port
        uint16_t family

    ctypedef struct Message "cwt_message":
        uint8_t* data
        size_t length
        size_t segment_size
        int ecn
        int truncated
        Peer source
        Peer destination

    ctypedef struct Request "cwt_request":
        const uint8_t* data
        size_t length
        size_t segment_size
        int ecn
        Peer to
        Peer from_ "from"

    int cwt_recvmsg(int fd, Message* message, size_t room) noexcept nogil
    int cwt_recvmmsg(int fd, Message* messages, int count, size_t room) noexcept nogil
    int cwt_sendmsg(
        int fd, int family, const Peer* to, const Peer* source, int ecn,
        const uint8_t* data, size_t length, size_t segment_size
    ) noexcept nogil
    int cwt_sendmmsg(
        int fd, int family, const Peer* to, const Peer* source, int ecn,
        const uint8_t* data, size_t length, size_t segment_size
    ) noexcept nogil
    int cwt_send_requests(int fd, int family, const Request* requests, int count) noexcept nogil
    int cwt_has_gso(int fd) noexcept nogil
    int cwt_set_gro(int fd, int on) noexcept nogil
    void cwt_set_options(int fd, int family) noexcept nogil
    void cwt_set_v4(Peer* peer, const void* address) noexcept nogil
    void cwt_set_v6(Peer* peer, const uint8_t* address, uint32_t scope) noexcept nogil

cdef extern from "<arpa/inet.h>" nogil:
    int AF_INET
    int AF_INET6
    enum: INET6_ADDRSTRLEN
    const char* inet_ntop(int family, const void* address, char* text, uint32_t size)
    int inet_pton(int family, const char* text, void* address)

cdef extern from "<net/if.h>" nogil:
    unsigned int if_nametoindex(const char* name)
