"""Run in a namespace: the interfaces that are named get whole packets, segmented and with checksums.

Else a "packet" on veth is up to 64 kB long and its checksum is for a network card to fill in.
"""

import array
import fcntl
import socket
import struct
import sys

SIOCETHTOOL = 0x8946
COMMANDS = (0x17, 0x1F, 0x24, 0x2C)  # ETHTOOL_STXCSUM, _STSO, _SGSO, _SGRO of linux/ethtool.h

with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    for interface in sys.argv[1:]:
        for command in COMMANDS:
            value = array.array("I", [command, 0])
            address, _ = value.buffer_info()
            fcntl.ioctl(sock, SIOCETHTOOL, struct.pack("16sP16x", interface.encode(), address))
