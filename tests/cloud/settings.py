"""The cloud's settings, as its programs read them. All stand in ``PLACE``, and listen on 127.0.0.1 alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

PLACE = "/srv/cloud"
"""The folder of this run, as the programs see it."""
HOST = "127.0.0.1"
PORTS: Mapping[str, int] = {
    "nova": 8774,
    "cinder": 8776,
    "placement": 8778,
    "neutron": 9696,
    "messages": 5672,
}
"""Their usual ones: a run has a network of its own."""
DATABASES = ("nova_api", "nova", "nova_cell0", "neutron", "placement", "cinder")
SERVICE_USER = "services"
COMPUTE = "cloud"
"""What the only hypervisor is called."""


@dataclass(frozen=True)
class Facts:
    """What differs from run to run. ``password`` is the services' own."""

    keystone: str
    glance: str
    password: str = field(repr=False)
    virtualization: Literal["kvm", "qemu"] = "qemu"

    @property
    def messages(self) -> str:
        return f"rabbit://{SERVICE_USER}:{self.password}@{HOST}:{PORTS['messages']}/"


def database(name: str) -> str:
    """A database's address: a socket that nobody else gets to, without a password."""
    return f"mysql+pymysql://root@localhost/{name}?unix_socket={PLACE}/mysql.sock&charset=utf8"


def files(facts: Facts) -> dict[str, str]:
    """Their texts, by the name below ``PLACE/etc``."""
    return {
        "rabbitmq.conf": f"""\
listeners.tcp.local = {HOST}:{PORTS["messages"]}
default_user = {SERVICE_USER}
default_pass = {facts.password}
""",
        "placement.conf": _placement(facts),
        "nova.conf": _nova(facts),
        "neutron.conf": _neutron(facts),
        "dhcp.ini": _DHCP,
        "cinder.conf": _cinder(facts),
        "shares": f"{HOST}:/volumes\n",
    }


def _login(section: str, facts: Facts, *more: str) -> str:
    lines = [
        f"[{section}]",
        "auth_type = password",
        f"auth_url = {facts.keystone}",
        f"www_authenticate_uri = {facts.keystone}",
        f"username = {SERVICE_USER}",
        f"password = {facts.password}",
        "project_name = service",
        "user_domain_id = default",
        "project_domain_id = default",
        "region_name = RegionOne",
        *more,
    ]
    return "\n".join(lines) + "\n"


def _placement(facts: Facts) -> str:
    return f"""\
[placement_database]
connection = {database("placement")}
{_login("keystone_authtoken", facts)}"""


def _nova(facts: Facts) -> str:
    cpu = "host-passthrough" if facts.virtualization == "kvm" else "none"
    return f"""\
[DEFAULT]
transport_url = {facts.messages}
state_path = {PLACE}/nova
instances_path = {PLACE}/nova/instances
my_ip = {HOST}
host = {COMPUTE}
compute_driver = libvirt.LibvirtDriver
enabled_apis = osapi_compute
osapi_compute_listen = {HOST}
osapi_compute_listen_port = {PORTS["nova"]}
osapi_compute_workers = 1
force_config_drive = true
rootwrap_config = /etc/nova/rootwrap.conf
vif_plugging_timeout = 300
reserved_host_memory_mb = 512
cpu_allocation_ratio = 8.0
disk_allocation_ratio = 4.0
rpc_response_timeout = 300
service_down_time = 300
[api_database]
connection = {database("nova_api")}
[database]
connection = {database("nova")}
[conductor]
workers = 1
[scheduler]
workers = 1
[oslo_concurrency]
lock_path = {PLACE}/lock
[vnc]
enabled = false
[libvirt]
virt_type = {facts.virtualization}
cpu_mode = {cpu}
inject_partition = -2
[glance]
api_servers = {facts.glance}
[cinder]
catalog_info = volumev3::publicURL
{_login("keystone_authtoken", facts)}{_login("placement", facts)}{_login("neutron", facts)}\
{_login("service_user", facts, "send_service_user_token = true")}"""


# Security groups are real: nothing reaches a server but what they let in.
def _neutron(facts: Facts) -> str:
    return f"""\
[DEFAULT]
transport_url = {facts.messages}
state_path = {PLACE}/neutron
bind_host = {HOST}
bind_port = {PORTS["neutron"]}
host = {COMPUTE}
core_plugin = ml2
service_plugins =
api_workers = 1
rpc_workers = 1
auth_strategy = keystone
notify_nova_on_port_status_changes = true
notify_nova_on_port_data_changes = true
dhcp_agents_per_network = 1
agent_down_time = 300
api_paste_config = /etc/neutron/api-paste.ini
[experimental]
linuxbridge = true
[database]
connection = {database("neutron")}
[oslo_concurrency]
lock_path = {PLACE}/lock
[agent]
root_helper = sudo
report_interval = 30
[ml2]
type_drivers = local
tenant_network_types = local
mechanism_drivers = linuxbridge
extension_drivers =
[linux_bridge]
physical_interface_mappings =
[vxlan]
enable_vxlan = false
[securitygroup]
enable_security_group = true
enable_ipset = true
firewall_driver = iptables
{_login("keystone_authtoken", facts)}{_login("nova", facts)}"""


_DHCP = """\
[DEFAULT]
interface_driver = linuxbridge
dhcp_driver = neutron.agent.linux.dhcp.Dnsmasq
enable_isolated_metadata = false
"""


# Volumes are files of a folder, which its NFS driver takes for a server's: see "mount.nfs" in services.py.
def _cinder(facts: Facts) -> str:
    return f"""\
[DEFAULT]
transport_url = {facts.messages}
state_path = {PLACE}/cinder
my_ip = {HOST}
host = {COMPUTE}
auth_strategy = keystone
api_paste_config = /etc/cinder/api-paste.ini
rootwrap_config = /etc/cinder/rootwrap.conf
osapi_volume_listen = {HOST}
osapi_volume_listen_port = {PORTS["cinder"]}
osapi_volume_workers = 1
enabled_backends = folder
default_volume_type = folder
glance_api_servers = {facts.glance}
service_down_time = 300
[folder]
volume_driver = cinder.volume.drivers.nfs.NfsDriver
volume_backend_name = folder
nfs_shares_config = {PLACE}/etc/shares
nfs_mount_point_base = {PLACE}/cinder/mounts
nfs_sparsed_volumes = true
nas_secure_file_operations = false
nas_secure_file_permissions = false
[database]
connection = {database("cinder")}
[oslo_concurrency]
lock_path = {PLACE}/lock
{_login("keystone_authtoken", facts, "service_token_roles_required = true", "service_token_roles = service")}\
{_login("service_user", facts, "send_service_user_token = true")}"""
