"""A real Keystone and a real Glance on loopback, for as long as a block runs.

Their Python packages are installed once, into a virtual environment that later runs use again, with databases
that hold nothing yet. What is in them, images, keys and passwords are of one run each.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import platform
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

PACKAGES = ("keystone==30.0.0", "glance==33.0.0", "pyuwsgi==2.0.30.post1")
QUOTA_MIB = 64
"""What the images of one project may take together, unless somebody says otherwise."""
HOST = "127.0.0.1"
DEAD_REGION = "Dead"
"""Where the catalog has an image service that does not answer."""
_PATIENCE = 60.0  # seconds that a service may take to start, or to end


class CannotStart(Exception):
    """This machine lacks something that the services need; the text says what."""


@dataclass(frozen=True)
class OpenStack:
    """``clouds`` is a clouds.yaml: ``admin`` may do all, ``member`` and ``importer`` publish from one project
    (the latter may not upload directly), ``user`` has another. ``passwords`` go by these names.
    """

    folder: Path
    clouds: Path
    keystone: str
    glance: str
    passwords: Mapping[str, str] = field(repr=False)

    def files(self) -> list[Path]:
        """All that the store, and the staging area, hold."""
        return [file for name in ("images", "staging") for file in (self.folder / name).iterdir()]

    def with_cloud(self, file: Path, name: str, like: str, **changes: Any) -> Path:
        """Write a clouds.yaml with ours and one more, as one of them is but for some changes; those in
        ``auth`` go into that.
        """
        clouds = json.loads(self.clouds.read_text())["clouds"]
        cloud = clouds[like]
        auth = {**cloud["auth"], **changes.pop("auth", {})}
        return _write(file, json.dumps({"clouds": {**clouds, name: {**cloud, **changes, "auth": auth}}}))


@contextlib.contextmanager
def openstack(
    folder: Path,
    new_password: Callable[[str], str] = lambda name: secrets.token_hex(12),
    quota_mib: int = QUOTA_MIB,
) -> Iterator[OpenStack]:
    """Start both in ``folder``, and end them. Raises CannotStart."""
    environment = installed()
    folder.mkdir(mode=0o700)
    for name in ("etc", "images", "staging", "tasks", "fernet", "credentials", "lock"):
        (folder / name).mkdir()
    ports = _free_ports(2)
    passwords = {name: new_password(name) for name in ("admin", "glance", "member", "importer", "user")}
    keystone, glance = f"http://{HOST}:{ports[0]}/v3", f"http://{HOST}:{ports[1]}"
    _write(folder / "etc" / "keystone.conf", _keystone(folder))
    _write(
        folder / "etc" / "glance-api.conf",
        _glance(folder, environment, keystone, glance, passwords, quota_mib),
    )
    _write(folder / "etc" / "policy.yaml", _POLICY)
    clouds = _write(folder / "clouds.yaml", json.dumps({"clouds": _clouds(keystone, passwords)}))
    _begin(folder, environment, keystone, passwords["admin"])
    with contextlib.ExitStack() as running:
        variables = {"OS_GLANCE_CONFIG_DIR": str(folder / "etc"), "OS_GLANCE_CONFIG_FILES": "glance-api.conf"}
        running.enter_context(_served(folder, environment, "glance", ports[1], variables))
        variables = {"OS_KEYSTONE_CONFIG_FILES": str(folder / "etc" / "keystone.conf")}
        running.enter_context(_served(folder, environment, "keystone", ports[0], variables))
        _wait_for(keystone, folder / "keystone.log")
        _fill(clouds, glance, passwords)
        _wait_for(f"{glance}/versions", folder / "glance.log")
        yield OpenStack(folder, clouds, keystone, glance, passwords)


def installed() -> Path:
    """The virtual environment of both, made where it is not there yet. Raises CannotStart."""
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if uv is None:
        raise CannotStart("uv is not installed: run ci/setup python")
    pins = "\n".join((*PACKAGES, platform.python_version(), platform.machine()))
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "imagefactory-tests"
    folder = home / f"openstack-{hashlib.sha256(pins.encode()).hexdigest()[:12]}"
    home.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / "ready").exists():
            shutil.rmtree(folder, ignore_errors=True)
            python = str(folder / "bin" / "python")
            _do(uv, "venv", "--quiet", "--python", sys.executable, str(folder))
            _do(uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python, *PACKAGES)
            for name in ("keystone", "glance"):
                settings = folder / f"{name}-empty.conf"
                settings.write_text(f"[database]\nconnection = sqlite:///{folder}/{name}.db\n")
                _do(str(folder / "bin" / f"{name}-manage"), "--config-file", str(settings), "db_sync")
            (folder / "ready").touch()
    return folder


def _do(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise CannotStart(f"{words[0]} {words[1]} fails: {done.stderr.strip()[-500:]}")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as bound:
        found = [bound.enter_context(socket.socket()) for _ in range(count)]
        for each in found:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in found]


def _write(file: Path, text: str) -> Path:
    """What may hold a password is nobody else's to read."""
    file.touch(mode=0o600)
    file.write_text(text)
    return file


# Debian's own Keystone fails on SQLite under load; this one does not, with one process.
def _keystone(folder: Path) -> str:
    return f"""\
[DEFAULT]
use_stderr = true
[database]
connection = sqlite:///{folder}/keystone.db
[token]
provider = fernet
[identity]
password_hash_rounds = 4
[fernet_tokens]
key_repository = {folder}/fernet
[credential]
key_repository = {folder}/credentials
"""


def _glance(
    folder: Path,
    environment: Path,
    keystone: str,
    glance: str,
    passwords: Mapping[str, str],
    quota_mib: int,
) -> str:
    return f"""\
[DEFAULT]
use_stderr = true
enabled_backends = files:file
enabled_import_methods = [glance-direct]
worker_self_reference_url = {glance}
user_storage_quota = {quota_mib}MB
[database]
connection = sqlite:///{folder}/glance.db
[glance_store]
default_backend = files
[files]
filesystem_store_datadir = {folder}/images
[os_glance_staging_store]
filesystem_store_datadir = {folder}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {folder}/tasks
[oslo_concurrency]
lock_path = {folder}/lock
[oslo_policy]
policy_file = {folder}/etc/policy.yaml
[paste_deploy]
flavor = keystone
config_file = {environment}/etc/glance/glance-api-paste.ini
[keystone_authtoken]
www_authenticate_uri = {keystone}
auth_url = {keystone}
auth_type = password
username = glance
password = {passwords["glance"]}
project_name = service
user_domain_id = default
project_domain_id = default
"""


# As it is without this file, but for a role whose images must be imported.
_POLICY = """\
"upload_image": "not role:importer and (role:admin or (role:member and project_id:%(project_id)s))"
"""


def _clouds(keystone: str, passwords: Mapping[str, str]) -> dict[str, Any]:
    projects = {"admin": "admin", "member": "images", "importer": "images", "user": "users"}
    return {
        name: {
            "region_name": "RegionOne",
            "auth": {
                "auth_url": keystone,
                "username": name,
                "password": passwords[name],
                "project_name": project,
                "user_domain_id": "default",
                "project_domain_id": "default",
            },
        }
        for name, project in projects.items()
    }


def _begin(folder: Path, environment: Path, keystone: str, password: str) -> None:
    """Databases, keys, and the first user."""
    for name in ("keystone", "glance"):
        shutil.copy(environment / f"{name}.db", folder)
    for keys in ("fernet", "credentials"):  # as keystone-manage fernet_setup makes them, without its wait
        for number in range(2):
            _write(folder / keys / str(number), base64.urlsafe_b64encode(os.urandom(32)).decode())
    urls = [
        word for kind in ("admin", "internal", "public") for word in (f"--bootstrap-{kind}-url", keystone)
    ]
    words = [str(environment / "bin" / "keystone-manage"), "--config-file", f"{folder}/etc/keystone.conf"]
    done = subprocess.run(
        [*words, "bootstrap", *urls, "--bootstrap-region-id", "RegionOne"],
        env={**os.environ, "OS_BOOTSTRAP_PASSWORD": password},
        capture_output=True,
        text=True,
        timeout=_PATIENCE * 3,
    )
    assert done.returncode == 0, done.stderr[-2000:]


@contextlib.contextmanager
def _served(
    folder: Path, environment: Path, name: str, port: int, variables: Mapping[str, str]
) -> Iterator[None]:
    """A service in a process group of its own, which ends with the block, or with this process."""
    words = [
        *("setpriv", "--pdeathsig", "TERM", "--", str(environment / "bin" / "uwsgi")),
        *("--http-socket", f"{HOST}:{port}", "--module", f"{name}.wsgi.api:application"),
        *("--master", "--processes", "1", "--threads", "4", "--enable-threads", "--lazy-apps", "--need-app"),
        *("--die-on-term", "--no-orphans", "--buffer-size", "65535", "--virtualenv", str(environment)),
        *("--add-header", "Connection: close"),  # it closes each, and does not say so by itself
    ]
    with (folder / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            words,
            env={**os.environ, **variables},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(_PATIENCE)
        finally:
            with contextlib.suppress(ProcessLookupError):  # its workers end with it; if not, now
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_for(url: str, log: Path) -> None:
    end = time.monotonic() + _PATIENCE
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        try:
            opener.open(url, timeout=5).close()
        except urllib.error.HTTPError as answer:
            answer.close()
            if answer.code == 300:  # Glance has several versions
                return
        except OSError:
            pass
        else:
            return
        assert time.monotonic() < end, f"{url} does not answer: {log.read_text()[-2000:]}"
        time.sleep(0.1)


def _fill(clouds: Path, glance: str, passwords: Mapping[str, str]) -> None:
    """Keystone's users and projects, and where Glance is."""
    from openstack.config.loader import OpenStackConfig
    from openstack.connection import Connection

    warnings.filterwarnings("ignore", module="openstack")  # it also warns of what nobody uses here
    config = OpenStackConfig(config_files=[str(clouds)], load_envvars=False)
    with Connection(config=config.get_one(cloud="admin")) as admin:
        identity: Any = admin.identity
        roles = {role.name: role for role in identity.roles()}
        roles["importer"] = identity.create_role(name="importer")
        projects = {
            name: identity.create_project(name=name, domain_id="default")
            for name in ("service", "images", "users")
        }
        for user, project, granted in (
            ("glance", "service", ("admin", "service")),
            ("member", "images", ("member",)),
            ("importer", "images", ("member", "importer")),
            ("user", "users", ("member",)),
        ):
            made = identity.create_user(name=user, password=passwords[user], domain_id="default")
            for role in granted:
                identity.assign_project_role_to_user(projects[project], made, roles[role])
        service = identity.create_service(name="glance", type="image")
        for kind in ("public", "internal"):
            identity.create_endpoint(service_id=service.id, interface=kind, url=glance, region_id="RegionOne")
        identity.create_region(id=DEAD_REGION)
        dead = {"interface": "public", "url": f"http://{HOST}:1", "region_id": DEAD_REGION}
        identity.create_endpoint(service_id=service.id, **dead)
