from __future__ import annotations

import ipaddress
from pathlib import Path

from ikoma.apps.policy.addresses import list_server_networks

_ROUTES = """Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT
eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
tun0\t00000080\t00000000\t0001\t0\t0\t0\t00000080\t0\t0\t0
tun0\t00FFFF0A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
br-1\t0000090A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
"""
_NOWHERE = "00000000000000000000000000000000"
_ROUTES_SIX = f"""fdaa{_NOWHERE[4:]} 40 {_NOWHERE} 00 {_NOWHERE} 00000100 00000001 00000000 00000001     eth0
{_NOWHERE} 00 {_NOWHERE} 00 {_NOWHERE} 00000100 00000001 00000000 00000001     eth0
"""


def test_routes_resolvers_and_hosts_are_the_servers(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "resolv.conf").write_text("# none\nnameserver 10.200.0.53\nnameserver fe80::1%eth0\n")
    (tmp_path / "proc" / "net").mkdir(parents=True)
    (tmp_path / "proc" / "net" / "route").write_text(_ROUTES)
    (tmp_path / "proc" / "net" / "ipv6_route").write_text(_ROUTES_SIX)
    found = set(list_server_networks(tmp_path, hosts=("10.201.0.5",)))
    for network in ("10.255.255.0/24", "10.200.0.53/32", "10.201.0.5/32", "fdaa::/64"):
        assert ipaddress.ip_network(network) in found, network
    for network in ("0.0.0.0/0", "128.0.0.0/1", "10.9.0.0/16", "::/0"):
        assert ipaddress.ip_network(network) not in found, network
