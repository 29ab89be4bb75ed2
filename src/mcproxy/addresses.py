"""Which IP addresses are public unicast ones, and which are this machine's own. Pure.

The public ones are those that a script may be connected to, and that a remote server may send a
login to. An own list instead of ``ipaddress``'s ``is_global``, whose meaning differs between
versions of Python. IPv6 is allowed by its one public block and then narrowed, because what embeds
an IPv4 address (mapped, NAT64, 6to4, Teredo) would lead around the IPv4 list. From the IANA
registries of special-purpose addresses (RFC 6890).
"""

import ipaddress

_IPV4_REFUSED = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network; Linux takes 0.0.0.0 for loopback
        "10.0.0.0/8",
        "100.64.0.0/10",  # carriers' own; also one cloud's metadata
        "127.0.0.0/8",
        "168.63.129.16/32",  # one cloud's metadata, in public space
        "169.254.0.0/16",  # link-local, and the metadata of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",  # multicast, reserved, broadcast
    )
)
_IPV6_PUBLIC = ipaddress.IPv6Network("2000::/3")
_IPV6_REFUSED = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
)


LOCALHOST = "localhost"


def is_loopback(host: str) -> bool:
    """Does an address or name mean this machine only, whoever resolves it (RFC 6761, 6.3)?"""
    if host in (LOCALHOST, "127.0.0.1", "::1"):
        return True
    try:
        return plain(ipaddress.ip_address(host)).is_loopback
    except ValueError:
        return False


def plain(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address; of an IPv4 one that is mapped into IPv6 (as sockets show it), the IPv4 one."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def is_public(text: str) -> bool:
    """Is this the address of a public host? False for anything that is no plain address."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _IPV4_REFUSED)
    if address.scope_id or address not in _IPV6_PUBLIC:
        return False
    return not any(address in network for network in _IPV6_REFUSED)
