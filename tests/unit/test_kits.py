"""Launch kits: what is in them, that values are no more than text there, and how they are written."""

from __future__ import annotations

import json
import re
import resource
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import jinja2
import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from imagefactory.cli.delivering import launch
from imagefactory.deliver.kits import TOOLS, Wishes, kit_files, write_kit
from imagefactory.errors import BadInput, BuildFailed
from imagefactory.model.recipe import Needs
from imagefactory.model.spec import File, ImageDefinition
from imagefactory.system.templates import comment, hcl_word, yaml_word
from tests.unit.samples import GPU, RECIPE, image, named
from tests.unit.test_values_are_data import HOOKS

UUID = "6d6e0f4a-1111-2222-3333-444455556666"
NOTHING = Wishes()
KINDS = {
    "plain": image(),
    "desktop": image(needs=Needs(desktop=True)),
    "gpu": image(needs=Needs(gpu=GPU)),
}
each_kind = pytest.mark.parametrize("of", KINDS.values(), ids=KINDS)
HCL_HOOKS = ["${", "%{", "$${", "%%{", "${var.x}", "%{if true}", '"}', "EOT", "*/", "\\${", "\\u0024{"]
# What a recipe lets through: one line, without control characters.
lines = (
    st.lists(st.sampled_from([*HOOKS, *HCL_HOOKS]) | st.text(max_size=3), min_size=1, max_size=6)
    .map("".join)
    .map(lambda text: re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", "", text).strip() or "x")
)


class Unsafe(str):
    """A text that Ansible expands nothing in."""


class _Loader(yaml.SafeLoader):
    pass


_Loader.add_constructor("!unsafe", lambda loader, node: Unsafe(node.value))


def kit(of: ImageDefinition, tool: str, wishes: Wishes = NOTHING) -> dict[str, str]:
    return {file.path: file.data.decode() for file in kit_files(of, tool, wishes)}


def loaded(text: str) -> Any:
    return yaml.load(text, _Loader)


@pytest.mark.parametrize("tool", TOOLS)
@each_kind
def test_the_same_wishes_give_the_same_bytes_and_no_line_of_the_templates(
    of: ImageDefinition, tool: str
) -> None:
    files = kit_files(of, tool, NOTHING)
    assert files == kit_files(of, tool, NOTHING)
    for file in files:
        text = file.data.decode()
        assert text.endswith("\n")
        assert not text.endswith("\n\n")
        assert not re.search(r"[ \t]+$", text, re.MULTILINE), file.path
        assert "\n\n\n" not in text
        assert file.mode == (0o755 if file.path == "server.sh" else 0o644)


@pytest.mark.parametrize("tool", TOOLS)
def test_only_images_with_a_desktop_open_its_port(tool: str) -> None:
    said = {name: "".join(kit(of, tool).values()) for name, of in KINDS.items()}
    assert "3389" not in said["plain"] + said["gpu"]
    assert "3389" in said["desktop"]


def test_nobody_is_let_in_to_a_desktop_unless_somebody_says_who() -> None:
    closed, open_ = (
        {
            tool: "".join(kit(KINDS["desktop"], tool, wishes).values())
            for tool in ("terraform", "openstack", "ansible")
        }
        for wishes in (NOTHING, Wishes(allowed="192.0.2.0/24"))
    )
    assert "DESKTOP_FROM=${DESKTOP_FROM:-''}" in closed["openstack"]
    assert 'desktop_from: ""' in closed["ansible"]
    assert re.search(r'variable "desktop_from" \{\n.*\n.*\n  default     = null', closed["terraform"])
    for text in open_.values():
        assert text.count("192.0.2.0/24") >= 2
        assert "0.0.0.0/0" not in text


def test_the_flavor_has_room_for_the_system_and_the_container_too() -> None:
    needs = Needs(memory="3 GiB", disk="20.001 GiB")  # type: ignore[arg-type]  # as recipes say it
    settings_of = loaded(kit(image(needs=needs), "ansible")["settings.yml"])
    assert (settings_of["min_ram"], settings_of["min_disk"]) == (3 * 1024 + 512, 29)
    assert (
        "MIN_RAM=${MIN_RAM:-3584}\nMIN_DISK=${MIN_DISK:-29}\n"
        in kit(image(needs=needs), "openstack")["server.sh"]
    )
    assert "default     = 3584" in kit(image(needs=needs), "terraform")["variables.tf"]


def test_terraform_looks_at_nothing_that_would_rebuild_a_server() -> None:
    main = kit(image(), "terraform")["main.tf"]
    (server,) = re.findall(r'^resource "openstack_compute_instance_v2".*?^\}', main, re.MULTILINE | re.DOTALL)
    (ignored,) = re.findall(r"ignore_changes = \[(.*)\]", server)
    # All that the provider documents as replacing, rebuilding or resizing, of what is set here.
    assert {"image_id", "flavor_id", "key_pair", "user_data", "network", "network_mode"} <= set(
        ignored.split(", ")
    )
    assert "most_recent = true" in main


# By resource and data source: the arguments that the provider documents, of those that a server may need.
# https://registry.terraform.io/providers/terraform-provider-openstack/openstack/latest/docs
ARGUMENTS = {
    "data openstack_images_image_v2": "name most_recent tag properties owner visibility",
    "data openstack_compute_flavor_v2": "name flavor_id min_ram min_disk ram disk vcpus is_public",
    "data openstack_networking_port_v2": "device_id network_id name fixed_ip",
    "resource openstack_compute_keypair_v2": "name public_key",
    "resource openstack_networking_secgroup_v2": "name description delete_default_rules tags",
    "resource openstack_networking_secgroup_rule_v2": "security_group_id direction ethertype protocol "
    "port_range_min port_range_max remote_ip_prefix description",
    "resource openstack_compute_instance_v2": "name image_id image_name flavor_id flavor_name key_pair "
    "security_groups user_data network_mode network config_drive metadata",
    "resource openstack_blockstorage_volume_v3": "name size volume_type description metadata",
    "resource openstack_compute_volume_attach_v2": "instance_id volume_id",
    "resource openstack_networking_floatingip_v2": "pool port_id description",
    "resource openstack_networking_floatingip_associate_v2": "floating_ip port_id fixed_ip",
}


@each_kind
def test_terraform_names_what_its_provider_documents_and_what_is_declared(of: ImageDefinition) -> None:
    files = kit(of, "terraform")
    text = re.sub(
        r"^ *#.*$", "", "".join(v for k, v in files.items() if k.endswith(".tf")), flags=re.MULTILINE
    )
    blocks = re.findall(r'^(data|resource) "(\w+)" "(\w+)" \{\n(.*?)^\}', text, re.MULTILINE | re.DOTALL)
    for kind, provided, _, body in blocks:
        given_ = set(re.findall(r"^  (?:dynamic \")?(\w+)\"? *[={]", body, re.MULTILINE)) - {
            "count",
            "for_each",
            "lifecycle",
        }
        assert given_ <= set(ARGUMENTS[f"{kind} {provided}"].split()), provided
    declared = {
        ("data." if kind == "data" else "") + f"{provided}.{name}" for kind, provided, name, _ in blocks
    }
    assert set(re.findall(r"(?:data\.)?openstack_\w+\.\w+", text)) <= declared
    assert set(re.findall(r"\bvar\.(\w+)", text)) == set(re.findall(r'^variable "(\w+)"', text, re.MULTILINE))
    locals_ = re.search(r"^locals \{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL)
    assert locals_
    assert set(re.findall(r"\blocal\.(\w+)", text)) == set(
        re.findall(r"^  (\w+) *=", locals_[1], re.MULTILINE)
    )


# https://occopus.readthedocs.io, "Composing an infrastructure", and its checkers of the last release, 1.8.
RESOURCE = (
    *("endpoint", "image_id", "flavor_name", "project_id", "network_id", "name", "region_name"),
    *("user_domain_name", "server_name", "key_name", "floating_ip", "floating_ip_pool", "volume_size"),
)
NODES = {
    "type": "object",
    "minProperties": 1,
    "patternProperties": {
        "^node_def:": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["resource"],
                "additionalProperties": False,
                "properties": {
                    "resource": {
                        "type": "object",
                        "required": ["type", "endpoint", "image_id", "flavor_name", "project_id"],
                        "additionalProperties": False,
                        "properties": {
                            "type": {"const": "nova"},
                            "security_groups": {"type": "array", "items": {"type": "string"}},
                            **{name: {"type": "string"} for name in RESOURCE},
                        },
                    },
                    "contextualisation": {
                        "type": "object",
                        "required": ["type", "context_template"],
                        "additionalProperties": False,
                        "properties": {
                            "type": {"const": "cloudinit"},
                            "context_template": {"type": "string"},
                            "attributes": {"type": "object"},
                        },
                    },
                    "health_check": {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": {
                            "ping": {"type": "boolean"},
                            "ports": {"type": "array", "items": {"type": "integer"}},
                            "timeout": {"type": "integer"},
                        },
                    },
                },
            },
        }
    },
    "additionalProperties": False,
}
INFRASTRUCTURE = {
    "type": "object",
    "required": ["user_id", "infra_name", "nodes"],
    "additionalProperties": False,
    "properties": {
        "user_id": {"type": "string"},
        "infra_name": {"type": "string"},
        "variables": {"type": "object"},
        "dependencies": {"type": "array"},
        "nodes": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "type"],
                "additionalProperties": False,
                "properties": {
                    "name": {"type": "string"},
                    "type": {"type": "string"},
                    "scaling": {"type": "object", "propertyNames": {"enum": ["min", "max"]}},
                },
            },
        },
    },
}


@given(lines, lines)
@settings(deadline=None, max_examples=20)
def test_occopus_descriptors_are_as_it_documents_them(title: str, name: str) -> None:
    of = image(title=title, id=name, needs=Needs(desktop=True))
    files = kit(of, "occopus", Wishes(image=UUID))
    nodes, infrastructure = loaded(files["node_definitions.yaml"]), loaded(files["infrastructure.yaml"])
    jsonschema.validate(nodes, NODES)
    jsonschema.validate(infrastructure, INFRASTRUCTURE)
    assert list(nodes) == [f"node_def:{name}"]
    assert infrastructure["nodes"][0]["type"] == name
    (node,) = nodes[f"node_def:{name}"]
    assert node["resource"]["image_id"] == UUID
    template = jinja2.Environment(autoescape=False).from_string(node["contextualisation"]["context_template"])
    assert template.render() == kit(of, "cloud-init")["user-data.yaml"]


def differing(tame: str, hostile: str) -> Iterator[tuple[str, str]]:
    """The lines that are not the same; there are as many of them in both."""
    both = (tame.split("\n"), hostile.split("\n"))
    assert len(both[0]) == len(both[1])
    return ((a, b) for a, b in zip(*both, strict=True) if a != b)


@pytest.mark.parametrize("tool", TOOLS)
@given(title=lines, name=lines, cloud=lines)
@settings(deadline=None, max_examples=40)
def test_no_value_is_more_than_text(tool: str, title: str, name: str, cloud: str) -> None:
    known = {"cloud": "ACLOUD"} if tool not in ("occopus", "cloud-init") else {}
    before = kit(image(title="ATITLE", id="ANAME", needs=Needs(desktop=True)), tool, Wishes(**known))
    hostile = Wishes(cloud=cloud) if known else NOTHING
    after = kit(image(title=title, id=name, needs=Needs(desktop=True)), tool, hostile)
    assert before.keys() == after.keys()
    values = {"ATITLE": title, "ANAME": name, "ACLOUD": cloud}
    for path, text in before.items():
        for tame, wild in differing(text, after[path]):
            if path == "README.md" or tame.startswith(("#", "      #")):
                # A comment or a heading, on whose line nothing else stands.
                assert wild.startswith(tame.partition("A")[0])
                continue
            (word,) = [each for each in values if each in tame]
            assert _read(path, wild) == _read(path, tame).replace(word, values[word]), (path, wild)


def _read(path: str, line: str) -> str:
    """What a tool reads in a line of that file."""
    if path.endswith(".tf"):
        literal = line.partition("= ")[2]
        assert "${" not in literal
        assert "%{" not in literal
        return str(json.loads(literal))
    if path.endswith(".sh"):
        (word,) = shlex.split(line)
        return word
    read = loaded(line)
    value = next(iter(read.items() if isinstance(read, dict) else [("", read[0])]))
    if path == "settings.yml":
        assert isinstance(value[1], Unsafe)
    if isinstance(value[1], list):
        return "".join(value[1])
    return f"{value[0]}={value[1]}"


@given(st.text())
@settings(deadline=None)
def test_words_are_read_as_they_were(text: str) -> None:
    assert "\n" not in comment(text)
    assert yaml.safe_load(yaml_word(text)) == json.loads(yaml_word(text)) == text
    assert json.loads(hcl_word(text)) == text
    for word in (comment(text), yaml_word(text), hcl_word(text)):
        assert len(word.splitlines()) <= 1
        word.encode()


def test_a_uuid_names_the_same_image_everywhere() -> None:
    wishes = Wishes(image=UUID.upper())
    for tool in ("terraform", "openstack", "ansible", "occopus"):
        assert UUID in "".join(kit(image(), tool, wishes).values()), tool


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"image": "fsl"}, "'fsl' is no UUID"),
        ({"image": UUID + "0"}, "is no UUID"),
        ({"allowed": "10.0.0.1/8"}, "host bits"),
        ({"allowed": "everybody"}, "network address"),
        ({"cloud": "a\nb"}, "one line"),
        ({"cloud": " a"}, "one line"),
    ],
)
def test_a_wish_that_is_none_is_told(wish: dict[str, str], said: str) -> None:
    with pytest.raises(BadInput, match=re.escape(said)):
        Wishes(**wish)


def test_a_wish_that_has_no_place_is_told() -> None:
    for tool, wishes in (("cloud-init", Wishes(image=UUID)), ("occopus", Wishes(cloud="x"))):
        with pytest.raises(BadInput, match="has no place"):
            kit_files(image(), tool, wishes)


def test_files_are_written_beside_others_and_replace_none(tmp_path: Path) -> None:
    to = tmp_path / "new" / "kit"
    files = kit_files(image(), "terraform", NOTHING)
    assert write_kit(files, to) == tuple(to / file.path for file in files)
    (to / "terraform.tfstate").write_text("precious")
    write_kit(files, to)
    (to / "main.tf").write_text("edited")
    (to / "outputs.tf").unlink()
    with pytest.raises(BadInput, match=r"main\.tf: there is something else already"):
        write_kit(files, to)
    assert (to / "main.tf").read_text() == "edited"
    assert not (to / "outputs.tf").exists()
    (to / "main.tf").unlink()
    (to / "main.tf").symlink_to(to / "elsewhere")
    with pytest.raises(BadInput, match="something else"):
        write_kit(files, to)
    assert (to / "terraform.tfstate").read_text() == "precious"
    assert not (to / "elsewhere").exists()


def test_what_can_t_be_written_leaves_nothing(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    files = (File("first", 0o644, b"1"), File("second", 0o644, b"2" * 10000))
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))  # as on a full disk
        with pytest.raises(BuildFailed, match="second"):
            write_kit(files, tmp_path / "kit")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "kit"):
        with pytest.raises((BadInput, BuildFailed)):
            write_kit(files, place)


def test_the_command(
    imagefactory: Callable[..., tuple[int, str, str]], workspace: Callable[..., Any], tmp_path: Path
) -> None:
    text = RECIPE.replace("base: debian-12\n", "base: debian-12\nneeds: {memory: 2 GiB, desktop: true}\n")
    root = workspace(text).root
    workspace(named(RECIPE, "two") + "variants:\n  default: {}\n  more: {title: More}\n", "two")
    run: Callable[..., tuple[int, str, str]] = lambda *words: imagefactory("--root", root, "launch", *words)  # noqa: E731

    status, out, errors = run("app", "--print", "openstack", "--cloud", "mine")
    assert (status, errors) == (0, "")
    assert out.startswith("#!/bin/sh\n# An application: ")
    assert "CLOUD=${CLOUD:-mine}" in out
    assert run("app", "--print", "cloud-init")[1].startswith("#cloud-config\n")

    to = tmp_path / "kit"
    status, out, errors = run("app", "--print", "ansible", "--to", to, "--image", UUID)
    assert (status, errors) == (0, "")
    assert sorted(out.split()) == sorted(str(path) for path in to.iterdir())
    status, _, errors = run("app", "--print", "ansible", "--to", to)
    assert (status, "settings.yml: there is something else" in errors) == (2, True)

    for words, said in (
        (("app", "--print", "terraform"), "give the folder to write them into with --to"),
        (("two", "--print", "openstack"), "name one of two-default, two-more"),
        (("debian-12", "--print", "openstack"), "is a base image"),
        (("app", "--print", "openstack", "--image", "newest"), "no UUID"),
        (("nothing", "--print", "openstack"), "called 'nothing'"),
    ):
        status, out, errors = run(*words)
        assert (status, out, said in errors) == (2, "", True), errors


def test_the_command_offers_every_kit() -> None:
    (option,) = [param for param in launch.params if param.name == "tool"]
    assert isinstance(option.type, click.Choice)
    assert tuple(option.type.choices) == TOOLS
