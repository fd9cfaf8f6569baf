"""OpenStack on this machine: Keystone and Glance, and beside them Nova, Placement, Neutron and Cinder."""

from __future__ import annotations

import contextlib
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from openstack.connection import Connection

from tests.cloud.services import Broken, Services
from tests.cloud.settings import DATABASES, HOST, PLACE, PORTS, SERVICE_USER, Facts, files
from tests.upstreams.openstack import OpenStack, openstack

Say = Callable[[str], None]
NETWORK = "cloud"
GATEWAY = "10.77.0.1"
"""Our own address in the servers' network."""
ADMIN, USER = "admin", "user"
"""Who may do all, and an ordinary member of a project."""
FLAVORS = {"small": (1, 1024, 8), "medium": (2, 2048, 16), "large": (2, 6144, 40)}
"""Cores, MiB of memory, GiB of disk."""


@dataclass(frozen=True)
class Cloud:
    """``identity`` has the clouds.yaml, ``bridge`` leads to servers, ``password`` is the services' own."""

    identity: OpenStack
    services: Services
    bridge: str
    password: str = field(repr=False)
    connections: dict[str, Connection] = field(default_factory=dict)

    def connect(self, name: str = USER) -> Connection:
        """As somebody of clouds.yaml."""
        if name not in self.connections:
            self.connections[name] = _connection(self.identity, name)
        return self.connections[name]

    def left(self) -> list[str]:
        """All that the member's project has, but images, in words."""
        # Not by way of one connection: a client keeps what it was told of its rights for a while.
        user: Any = self.connect()
        groups = [each for each in user.network.security_groups() if each.name != "default"]
        ports = [each for each in user.network.ports() if not str(each.device_owner).startswith("network:")]
        found: list[tuple[str, list[Any]]] = [
            ("server", list(user.compute.servers())),
            ("keypair", list(user.compute.keypairs())),
            ("volume", list(user.block_storage.volumes())),
            ("security group", groups),
            ("port", ports),
        ]
        return [f"{kind} {each.name or each.id}" for kind, things in found for each in things]


@contextlib.contextmanager
def cloud(folder: Path, packages: Path, virtualization: Literal["kvm", "qemu"], say: Say) -> Iterator[Cloud]:
    """Start it in ``folder``, and end it. The caller has a network and mounts of its own. Raises Broken, and
    CannotStart.
    """
    with contextlib.ExitStack() as stack:
        identity = stack.enter_context(openstack(folder / "identity", quota_mib=20_000))
        say("identity and images")
        password = secrets.token_hex(12)
        facts = Facts(identity.keystone, identity.glance, password, virtualization)
        services = Services(folder / "services", folder / "layer" / "root")
        services.prepare(packages, files(facts))
        # A cable into the servers' network: at what comes from its bridge no security group looks. Neutron
        # wants some card to be there before, too.
        _ip("link", "add", "outside", "type", "veth", "peer", "name", "inside")
        stack.callback(services.end)
        _start_stores(services)
        _register(identity, password)
        say("database and messages")
        _fill_databases(services)
        say("tables")
        _start(services)
        say("compute, network and volume services")
        admin = _connection(identity, ADMIN)
        bridge = _network(services, admin)
        say("a hypervisor, a network, flavors")
        yield Cloud(identity, services, bridge, password)


def _connection(identity: OpenStack, name: str) -> Connection:
    from openstack.config.loader import OpenStackConfig

    config = OpenStackConfig(config_files=[str(identity.clouds)], load_envvars=False)
    return Connection(config=config.get_one(cloud=name))


def _start_stores(services: Services) -> None:
    words = (
        "mariadb-install-db",
        "--no-defaults",
        f"--datadir={PLACE}/mysql",
        "--user=root",
        "--skip-test-db",
    )
    services.run("mysql", *words, "--auth-root-authentication-method=normal")
    services.start(
        *("mysql", "mariadbd", "--no-defaults", f"--datadir={PLACE}/mysql", f"--socket={PLACE}/mysql.sock"),
        *("--user=root", "--skip-networking", "--innodb-flush-log-at-trx-commit=0", "--skip-log-bin"),
        *("--max-connections=1000", f"--pid-file={PLACE}/mysql.pid"),
    )
    services.start(
        *("messages", "/usr/lib/rabbitmq/bin/rabbitmq-server"),
        HOME=f"{PLACE}/rabbit",
        ERL_EPMD_ADDRESS=HOST,
        RABBITMQ_NODENAME="cloud@localhost",
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+S 2:2 -kernel inet_dist_use_interface {127,0,0,1}",
        RABBITMQ_CONFIG_FILE=f"{PLACE}/etc/rabbitmq.conf",
        RABBITMQ_MNESIA_BASE=f"{PLACE}/rabbit",
        RABBITMQ_LOG_BASE=f"{PLACE}/log",
        RABBITMQ_ENABLED_PLUGINS_FILE="/dev/null",
        RABBITMQ_CONF_ENV_FILE="/dev/null",
    )
    services.await_("mysql", (services.folder / "mysql.sock").exists)
    statements = "".join(f"create database {name} character set utf8;\n" for name in DATABASES)
    for attempt in range(60):
        try:
            services.run(
                "mysql", "mariadb", "--no-defaults", f"--socket={PLACE}/mysql.sock", stdin=statements
            )
        except Broken:
            if attempt == 59:
                raise
            time.sleep(0.5)
        else:
            return


def _register(identity: OpenStack, password: str) -> None:
    """The services' user, and where they are."""
    with _connection(identity, ADMIN) as admin:
        keystone: Any = admin.identity
        roles = {role.name: role for role in keystone.roles()}
        project = keystone.find_project("service")
        user = keystone.create_user(name=SERVICE_USER, password=password, domain_id="default")
        for role in ("admin", "service"):
            keystone.assign_project_role_to_user(project, user, roles[role])
        for name, kind, path in (
            ("nova", "compute", "/v2.1"),
            ("neutron", "network", ""),
            ("placement", "placement", ""),
            ("cinder", "volumev3", "/v3/%(project_id)s"),
        ):
            service = keystone.create_service(name=name, type=kind)
            for interface in ("public", "internal"):
                url = f"http://{HOST}:{PORTS[name]}{path}"
                about = {"interface": interface, "url": url, "region_id": "RegionOne"}
                keystone.create_endpoint(service_id=service.id, **about)


def _fill_databases(services: Services) -> None:
    """Nova's, and beside them all others."""
    with ThreadPoolExecutor(1) as pool:
        others = pool.submit(_fill_others, services)
        nova = ("nova-manage", "--config-file", f"{PLACE}/etc/nova.conf")
        services.run("tables-nova", *nova, "api_db", "sync")
        # Its address comes from the settings, so that no word of a command tells it.
        services.run("tables-nova", *nova, "cell_v2", "map_cell0")
        services.run("tables-nova", *nova, "cell_v2", "create_cell", "--name", "cell1")
        services.run("tables-nova", *nova, "db", "sync")
        others.result()


def _fill_others(services: Services) -> None:
    for name, *words in (
        ("placement", "placement-manage", "db", "sync"),
        ("neutron", "neutron-db-manage", "upgrade", "heads"),
        ("cinder", "cinder-manage", "db", "sync"),
    ):
        program, *rest = words
        file = f"{PLACE}/etc/{name}.conf"
        services.run(
            *("tables", program, "--config-file", file, *rest), OS_PLACEMENT_CONFIG_DIR=f"{PLACE}/etc"
        )


def _start(services: Services) -> None:
    services.start(
        *("placement", "uwsgi-core", "--plugins", "http,python3", "--http-socket"),
        *(f"{HOST}:{PORTS['placement']}", "--add-header", "Connection: close"),
        *("--wsgi-file", "/usr/bin/placement-api", "--master", "--processes", "1", "--threads", "2"),
        *("--enable-threads", "--lazy-apps", "--die-on-term", "--need-app", "--buffer-size", "65535"),
        OS_PLACEMENT_CONFIG_DIR=f"{PLACE}/etc",
    )
    services.await_port("messages", PORTS["messages"])
    for name in ("nova-api", "nova-conductor", "nova-scheduler"):
        services.start(name, name, "--config-file", f"{PLACE}/etc/nova.conf")
    services.start("neutron", "neutron-server", "--config-file", f"{PLACE}/etc/neutron.conf")
    for name in ("cinder-api", "cinder-scheduler", "cinder-volume"):
        services.start(name, name, "--config-file", f"{PLACE}/etc/cinder.conf")
    services.start("virtlogd", "virtlogd")
    services.start("libvirtd", "libvirtd")
    for name, port in (("placement", "placement"), ("nova-api", "nova"), ("neutron", "neutron")):
        services.await_http(name, PORTS[port])
    services.await_http("cinder-api", PORTS["cinder"])
    services.await_("libvirtd", (services.root / "run/libvirt/libvirt-sock").exists)
    services.start("nova-compute", "nova-compute", "--config-file", f"{PLACE}/etc/nova.conf")
    neutron = ("--config-file", f"{PLACE}/etc/neutron.conf")
    services.start("neutron-bridges", "neutron-linuxbridge-agent", *neutron)
    services.start("neutron-dhcp", "neutron-dhcp-agent", *neutron, "--config-file", f"{PLACE}/etc/dhcp.ini")


def _network(services: Services, admin: Connection) -> str:
    """What servers need, and a way to them; the name of their bridge."""
    cloud: Any = admin
    compute = (
        "nova-manage",
        "--config-file",
        f"{PLACE}/etc/nova.conf",
        "cell_v2",
        "discover_hosts",
        "--verbose",
    )
    services.await_("nova-compute", lambda: any(cloud.compute.services(binary="nova-compute")))
    services.await_("nova-compute", lambda: "host mapping" in services.run("discover", *compute).lower())
    services.await_("neutron-bridges", lambda: len(list(cloud.network.agents())) == 2)
    for name, (cores, memory, disk) in FLAVORS.items():
        cloud.compute.create_flavor(name=name, vcpus=cores, ram=memory, disk=disk)
    cloud.block_storage.create_type(name="folder")
    network = cloud.network.create_network(name=NETWORK, is_shared=True)
    cloud.network.create_subnet(
        name=NETWORK,
        network_id=network.id,
        ip_version=4,
        cidr="10.77.0.0/24",
        gateway_ip=GATEWAY,
        allocation_pools=[{"start": "10.77.0.10", "end": "10.77.0.99"}],
    )
    bridge = f"brq{network.id[:11]}"
    services.await_("neutron-bridges", lambda: (Path("/sys/class/net") / bridge).exists())
    services.await_("cinder-volume", lambda: _is_up(cloud.block_storage.services(binary="cinder-volume")))
    _ip("link", "set", "inside", "master", bridge, "up")
    _ip("address", "add", f"{GATEWAY}/24", "dev", "outside")
    _ip("link", "set", "outside", "up")
    return bridge


def _is_up(found: Any) -> bool:
    return any(each.state == "up" for each in found)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise Broken(f"ip {' '.join(words)} fails: {done.stderr.strip()}")
