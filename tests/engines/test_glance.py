"""Uploads to a real Glance: whole and verified, or not at all, and no password anywhere."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from imagefactory.errors import BadInput, BuildFailed, FactoryError, Interrupted, NetworkFault
from imagefactory.model.report import NeedReport
from imagefactory.publish.answers import NoRoom, Refused
from imagefactory.publish.cloud import Cloud
from imagefactory.publish.glance import upload
from imagefactory.publish.marks import MARK, UPLOADING
from imagefactory.publish.properties import ProjectImage, Promises, properties_of, tags_of
from imagefactory.publish.transfer import download_digest
from imagefactory.system.processes import Stop
from imagefactory.system.store import file_sha256
from tests.conftest import REPOSITORY
from tests.engines.bench import Bench, wait_for
from tests.engines.canaries import Canaries, Watch
from tests.unit.samples import report
from tests.upstreams.openstack import DEAD_REGION, QUOTA_MIB, CannotStart, OpenStack, openstack
from tests.upstreams.openstack_proxy import Meddler

DIGEST = f"sha256:{'0123456789abcdef' * 4}"
IMAGE = ProjectImage(
    recipe="hello",
    title="Hello: \"greets\", with 'quotes' & <signs> $HOME {{ 7 * 7 }} äß",
    version="2.12-1",
    input_digest=DIGEST,
    container_digest=DIGEST,
    architecture="amd64",
    distribution="debian",
    release="12",
    user="debian",
    min_disk=4,
    min_ram=512,
    built="2026-11-28T20:38:04+01:00",
    promises=Promises("monthly", "last-3", "2027-06-30"),
    variant="mpi",
    source="https://example.org/images/hello?a=1&b=2",
)
CHILD = """
import logging, signal, sys, time
from pathlib import Path
logging.basicConfig(level=logging.DEBUG)
from imagefactory.errors import FactoryError
from imagefactory.publish.cloud import Cloud
from imagefactory.publish.glance import upload
signal.signal(signal.SIGTERM, signal.default_int_handler)  # as the command does
signal.signal(signal.SIGINT, signal.default_int_handler)
def slowly(done, total):
    print("sent", done, flush=True)
    time.sleep(float(sys.argv[4]))
try:
    done = upload(Cloud(sys.argv[3]), Path(sys.argv[1]), "raw", sys.argv[2], {}, on_progress=slowly)
    print("made", done.id, flush=True)
except FactoryError as error:
    print(repr(error), error, error.hint)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.fixture(scope="module")
def canary() -> Canaries:
    return Canaries()


@pytest.fixture(scope="module")
def cloud(canary: Canaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenStack]:
    """Both services, whose passwords are canaries."""
    with Watch(canary) as watch:
        service = openstack(tmp_path_factory.mktemp("cloud") / "openstack", canary.plant)
        try:
            running = service.__enter__()
        except CannotStart as error:
            if os.environ.get("CI") == "true":
                pytest.fail(str(error))
            pytest.skip(str(error))
    try:
        assert not [sight for sight in watch.found if sight.place == "cmdline"]
        yield running
    finally:
        service.__exit__(None, None, None)


@pytest.fixture(autouse=True)
def _no_images(cloud: OpenStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test begins without images, and asks this cloud."""
    for name in [name for name in os.environ if name.startswith("OS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(cloud.clouds))
    yield
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(cloud.clouds))
    admin = Cloud("admin")
    for image in listed(admin, visibility="all"):
        admin.delete(f"/images/{image['id']}")
    for file in cloud.files():
        file.unlink()


@pytest.fixture
def meddler(cloud: OpenStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Meddler]:
    """A proxy before Glance, in the way of cloud ``meddled``."""
    with Meddler(cloud.glance) as proxy:
        file = tmp_path / "clouds.yaml"
        cloud.with_cloud(file, "meddled", "member", image_endpoint_override=proxy.url)
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))
        yield proxy


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """Four MiB that are nobody else's."""
    file = tmp_path / "disk.raw"
    file.write_bytes(secrets.token_bytes(4 << 20))
    return file


@pytest.fixture
def qcow2(disk: Path) -> Path:
    file = disk.with_suffix(".qcow2")
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", str(disk), str(file)], check=True)
    return file


def listed(cloud: Cloud, **query: str) -> list[dict[str, Any]]:
    """All images that are seen, hidden or not."""
    found: list[dict[str, Any]] = []
    for hidden in ("false", "true"):
        found += cloud.get("/images", {"os_hidden": hidden, "limit": "100", **query})["images"]
    return found


def assert_nothing_left(cloud: OpenStack) -> None:
    assert listed(Cloud("admin"), visibility="all") == []
    # The service ends by itself what lost its client.
    wait_for(lambda: not cloud.files(), 20)


def test_an_image_arrives_with_all_that_is_told_of_it(cloud: OpenStack, qcow2: Path) -> None:
    went: list[tuple[int, int]] = []
    member, properties = Cloud("member"), properties_of(IMAGE)
    done = upload(
        member, qcow2, "qcow2", "Hello: 1", properties, tags_of(IMAGE), on_progress=lambda *n: went.append(n)
    )
    size = qcow2.stat().st_size
    assert [total for _, total in went] == [size] * len(went)
    assert [sent for sent, _ in went] == sorted({sent for sent, _ in went})
    assert went[-1] == (size, size)
    seen = member.get(f"/images/{done.id}")
    assert {name: seen[name] for name in properties} == properties
    assert sorted(seen["tags"]) == sorted(tags_of(IMAGE))
    assert (seen["name"], seen["status"], seen["visibility"]) == ("Hello: 1", "active", "private")
    assert (seen["disk_format"], seen["container_format"], seen["size"]) == ("qcow2", "bare", size)
    assert MARK not in seen
    assert done.sha512 == seen["os_hash_value"] == sha512(qcow2)
    assert download_digest(member, done.id) == done.sha512
    assert [file.read_bytes() for file in cloud.files()] == [qcow2.read_bytes()]
    assert not done.was_there
    assert done.bytes == size


def test_what_is_there_is_not_sent_again(cloud: OpenStack, disk: Path, meddler: Meddler) -> None:
    first = upload(Cloud("meddled"), disk, "raw", "hello", properties_of(IMAGE), ["a"])
    meddler.requests.clear()
    changed = properties_of(replace(IMAGE, promises=Promises("weekly")))
    second = upload(Cloud("meddled"), disk, "raw", "hello", changed, ["b"], "community")
    assert second == replace(first, was_there=True)
    assert not [request for request in meddler.requests if request.startswith(("PUT", "POST"))]
    (seen,) = listed(Cloud("meddled"))
    assert {name: seen[name] for name in changed} == changed
    assert (sorted(seen["tags"]), seen["visibility"]) == (["a", "b"], "community")
    meddler.requests.clear()
    assert upload(Cloud("meddled"), disk, "raw", "hello", changed, ["b"], "community") == second
    assert not [request for request in meddler.requests if not request.startswith("GET")]
    # Another name, other bytes, another project: none of them is the same.
    assert not upload(Cloud("meddled"), disk, "raw", "other", {}).was_there
    with disk.open("ab") as more:
        more.write(b"\0")
    assert not upload(Cloud("meddled"), disk, "raw", "hello", {}).was_there
    assert len(listed(Cloud("meddled"))) == 3


def test_others_see_what_they_should(cloud: OpenStack, disk: Path) -> None:
    properties, user = properties_of(IMAGE), Cloud("user")
    private = upload(Cloud("member"), disk, "raw", "private", properties)
    shared = upload(Cloud("member"), disk, "raw", "shared", properties, visibility="shared")
    community = upload(Cloud("member"), disk, "raw", "community", properties, visibility="community")
    public = upload(Cloud("admin"), disk, "raw", "public", properties, visibility="public")
    assert [image["id"] for image in listed(user)] == [public.id]
    assert [image["id"] for image in listed(user, visibility="community")] == [community.id]
    assert download_digest(user, community.id) == download_digest(user, public.id) == public.sha512
    Cloud("member").post(f"/images/{shared.id}/members", {"member": user.project})
    assert download_digest(user, shared.id) == shared.sha512
    with pytest.raises(BuildFailed, match=f"cloud user has no such thing: .*{private.id}"):
        download_digest(user, private.id)


def test_a_member_may_not_publish_to_everybody(cloud: OpenStack, disk: Path, meddler: Meddler) -> None:
    with pytest.raises(Refused) as refused:
        upload(Cloud("meddled"), disk, "raw", "hello", properties_of(IMAGE), visibility="public")
    assert refused.value.message == (
        "cloud meddled refuses: You are not authorized to complete publicize_image action."
        " (the visibility asked for is public)"
    )
    assert "private, shared or community" in refused.value.hint
    assert not [request for request in meddler.requests if request.startswith("PUT")]
    assert_nothing_left(cloud)
    # One that is there stays as it is.
    there = upload(Cloud("meddled"), disk, "raw", "hello", properties_of(IMAGE))
    with pytest.raises(Refused):
        upload(Cloud("meddled"), disk, "raw", "hello", properties_of(IMAGE), visibility="public")
    (seen,) = listed(Cloud("meddled"))
    assert (seen["id"], seen["visibility"]) == (there.id, "private")


@pytest.mark.long
def test_where_direct_uploads_are_refused_it_is_imported(
    cloud: OpenStack, qcow2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Meddler(cloud.glance) as proxy:
        file = cloud.with_cloud(tmp_path / "c.yaml", "x", "importer", image_endpoint_override=proxy.url)
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))
        done = upload(Cloud("x"), qcow2, "qcow2", "hello", properties_of(IMAGE), tags_of(IMAGE))
        sent = [request.rpartition("/")[2] for request in proxy.requests if request.startswith("PUT")]
        assert sent == ["file", "stage"]
        assert download_digest(Cloud("x"), done.id) == done.sha512 == sha512(qcow2)
        (seen,) = listed(Cloud("x"))
        assert (seen["id"], seen["status"]) == (done.id, "active")
        assert {name: seen[name] for name in properties_of(IMAGE)} == properties_of(IMAGE)
        # Glance looks at it only when it imports it.
        qcow2.write_bytes(b"QFI\xfb" + secrets.token_bytes(100_000))
        with pytest.raises(BuildFailed, match=r"cloud x did not take the image: \w+"):
            upload(Cloud("x"), qcow2, "qcow2", "other", properties_of(IMAGE))
    # Its files are another matter: here Glance itself leaves one in its store.
    assert [image["id"] for image in listed(Cloud("admin"))] == [done.id]


def start(file: Path, name: str, pause: float = 0.3, cloud: str = "member") -> subprocess.Popen[str]:
    """A process that uploads slowly, and says all that the libraries log."""
    words = [sys.executable, "-c", CHILD, str(file), name, cloud, str(pause)]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert child.stdout
    for line in child.stdout:
        if line.startswith("sent"):
            return child
    raise AssertionError("it ended before it had sent anything")


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """So large that no connection holds most of it."""
    file = tmp_path / "large.raw"
    file.write_bytes(secrets.token_bytes(24 << 20))
    return file


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupt_leaves_nothing(cloud: OpenStack, large: Path, number: signal.Signals) -> None:
    child = start(large, "hello")
    (half,) = listed(Cloud("member"))
    assert half["status"] in ("queued", "saving")
    assert half["tags"] == [UPLOADING]
    child.send_signal(number)
    assert child.communicate(timeout=60)[0].splitlines()[-1] == "interrupted"
    assert child.returncode == 0
    assert_nothing_left(cloud)


def test_a_stop_leaves_nothing(cloud: OpenStack, large: Path) -> None:
    stop = Stop()

    def stop_early(done: int, total: int) -> None:
        threading.Thread(target=stop.now).start()
        stop.wait(10)

    with pytest.raises(Interrupted):
        upload(Cloud("member", stop), large, "raw", "hello", {}, on_progress=stop_early)
    assert_nothing_left(cloud)


def test_what_a_killed_one_left_goes_with_the_next(cloud: OpenStack, large: Path, disk: Path) -> None:
    other = start(large, "another name")
    child = start(large, "hello")
    for each in (child, other):
        each.kill()
        each.communicate(timeout=60)
    assert len(listed(Cloud("member"))) == 2
    done = upload(Cloud("member"), disk, "raw", "hello", {})
    assert {image["name"]: image["id"] == done.id for image in listed(Cloud("member"))} == {
        "hello": True,
        "another name": False,
    }
    upload(Cloud("member"), disk, "raw", "another name", {})
    assert [image["status"] for image in listed(Cloud("member"))] == ["active"] * 2
    wait_for(lambda: len(cloud.files()) == 2, 20)


def test_two_at_once_do_not_disturb_each_other(cloud: OpenStack, large: Path, disk: Path) -> None:
    child = start(large, "hello", 0.1)
    done = upload(Cloud("member"), disk, "raw", "hello", {})
    said = child.communicate(timeout=60)[0]
    (made,) = [line.split()[1] for line in said.splitlines() if line.startswith("made")]
    assert {image["id"]: image["status"] for image in listed(Cloud("member"))} == {
        done.id: "active",
        made: "active",
    }


def test_a_cloud_that_holds_other_bytes_is_not_believed(
    cloud: OpenStack, disk: Path, meddler: Meddler
) -> None:
    meddler.flip = True
    with pytest.raises(BuildFailed, match=r"holds other bytes than were sent: .* with the sha512") as failed:
        upload(Cloud("meddled"), disk, "raw", "hello", properties_of(IMAGE))
    assert sha512(disk)[:16] in failed.value.message
    assert_nothing_left(cloud)


def test_a_cloud_with_another_hash_is_read_back(cloud: OpenStack, disk: Path, meddler: Meddler) -> None:
    meddler.answer = {"os_hash_algo": "sha256"}
    done = upload(Cloud("meddled"), disk, "raw", "hello", {})
    assert f"GET /v2/images/{done.id}/file" in meddler.requests
    meddler.flip = True
    with pytest.raises(BuildFailed, match="holds other bytes than were sent"):
        upload(Cloud("meddled"), disk, "raw", "other", {})
    assert [image["id"] for image in listed(Cloud("admin"))] == [done.id]


def test_a_connection_that_breaks_leaves_nothing(cloud: OpenStack, disk: Path, meddler: Meddler) -> None:
    meddler.cut = 1 << 20
    with pytest.raises(NetworkFault, match="cloud meddled cannot be reached: "):
        upload(Cloud("meddled"), disk, "raw", "hello", {})
    assert_nothing_left(cloud)


def test_what_cannot_be_removed_is_told_and_goes_later(
    cloud: OpenStack, disk: Path, meddler: Meddler
) -> None:
    meddler.refuse = {"PUT": 500, "DELETE": 500}
    with pytest.raises(NetworkFault, match="answers 500") as failed:
        upload(Cloud("meddled"), disk, "raw", "hello", {})
    (half,) = listed(Cloud("member"))
    assert f"half of image {half['id']} may be left there" in failed.value.hint
    meddler.refuse = {}
    # It is ours, and we are still at work, as far as anybody can tell.
    upload(Cloud("meddled"), disk, "raw", "hello", {})
    assert sorted(image["status"] for image in listed(Cloud("member"))) == ["active", "queued"]


def test_a_quota_is_told(cloud: OpenStack, tmp_path: Path) -> None:
    large = tmp_path / "large.raw"
    with large.open("wb") as file:
        file.truncate((QUOTA_MIB + 4) << 20)
    with pytest.raises(NoRoom, match=r"cloud member has no room for it: .*quota") as failed:
        upload(Cloud("member"), large, "raw", "hello", {})
    assert "quota" in failed.value.hint
    assert_nothing_left(cloud)


@dataclass(frozen=True)
class Trouble:
    """Settings of a cloud that lead to nothing, and what is said then."""

    changes: dict[str, Any]
    kind: type[FactoryError]
    text: str
    name: str = "lab"


DEAD = "http://127.0.0.1:1"
TROUBLE = {
    "password": Trouble(
        {"auth": {"password": "wrong-wrong-1"}}, BuildFailed, "cloud lab refuses the login: "
    ),
    "no password": Trouble({"auth": {"password": None}}, BadInput, "cloud lab: password is a required"),
    "name": Trouble({}, BadInput, r"clouds.yaml has no cloud other$", "other"),
    "keystone": Trouble(
        {"auth": {"auth_url": f"{DEAD}/v3"}}, NetworkFault, "cannot be reached: Connection ref"
    ),
    "version": Trouble({"auth": {"auth_url": DEAD}}, NetworkFault, "cannot be reached: Connection refused$"),
    "glance": Trouble({"region_name": DEAD_REGION}, NetworkFault, f"image service at {DEAD} does not answer"),
    "region": Trouble({"region_name": "Mars"}, BuildFailed, "cloud lab has no image service"),
    "plugin": Trouble({"auth_type": "nosuch"}, BadInput, "cloud lab: The plugin nosuch could not be found"),
    "host": Trouble({"auth": {"auth_url": "http://no.invalid/v3"}}, NetworkFault, "cannot be reached: .*ame"),
}


@pytest.mark.parametrize("trouble", TROUBLE.values(), ids=list(TROUBLE))
def test_trouble_is_told_in_a_line(
    cloud: OpenStack,
    disk: Path,
    tmp_path: Path,
    trouble: Trouble,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    file = cloud.with_cloud(tmp_path / "clouds.yaml", "lab", "member", **trouble.changes)
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))
    with pytest.raises(trouble.kind, match=trouble.text) as failed:
        upload(Cloud(trouble.name), disk, "raw", "hello", {})
    assert failed.value.hint
    assert "\n" not in failed.value.message
    assert len(failed.value.message) < 400
    assert capfd.readouterr() == ("", "")
    assert listed_by_admin(cloud, monkeypatch) == []


def listed_by_admin(cloud: OpenStack, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(cloud.clouds))
    return listed(Cloud("admin"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("clouds: [lab]", "is not a clouds.yaml"),
        ("clouds: {lab: {auth: SECRET}}", "is not a clouds.yaml"),
        ("clouds: {lab: SECRET", "can't be read, or is not YAML"),
        ("", "has no cloud lab"),
        ("SECRET", "is empty or not a valid mapping"),
    ],
)
def test_settings_that_are_none(
    text: str, said: str, disk: Path, canary: Canaries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "clouds.yaml"
    file.write_text(text.replace("SECRET", canary.plant("a password out of place")))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))
    with pytest.raises(BadInput, match=said) as failed:
        upload(Cloud("lab"), disk, "raw", "hello", {})
    canary.search_text("message", f"{failed.value!r} {failed.value.hint}")
    assert canary.found == []


def test_no_settings(disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "none.yaml"))
    with pytest.raises(BadInput, match=r"names .*none.yaml, and there is no such file"):
        upload(Cloud("lab"), disk, "raw", "hello", {})
    monkeypatch.delenv("OS_CLIENT_CONFIG_FILE")
    monkeypatch.setattr("openstack.config.loader.CONFIG_FILES", [str(tmp_path / "none.yaml")])
    with pytest.raises(BadInput, match=r"^cloud lab is not known: there is no clouds.yaml$"):
        upload(Cloud("lab"), disk, "raw", "hello", {})


@pytest.mark.parametrize(
    ("content", "kind"), [(b"", "raw"), (b"no qcow2", "qcow2"), (b"QFI\xfb and more", "raw"), (None, "raw")]
)
def test_a_file_that_is_no_image(content: bytes | None, kind: Any, tmp_path: Path) -> None:
    file = tmp_path / "disk"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BadInput, match=str(file)):
        upload(Cloud("member"), file, kind, "hello", {})


def test_no_password_is_seen_anywhere(
    cloud: OpenStack, canary: Canaries, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all that the libraries log, and with what they say where the password is wrong."""
    wrong = cloud.with_cloud(
        tmp_path / "clouds.yaml", "wrong", "member", auth={"password": canary.plant("a wrong password")}
    )
    said = []
    with Watch(canary) as watch:
        said.append(start(disk, "hello", 0.2).communicate(timeout=60)[0])
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(wrong))
        words = [sys.executable, "-c", CHILD, str(disk), "hello", "wrong", "0"]
        said.append(subprocess.run(words, capture_output=True, text=True, timeout=60).stdout)
    assert "made " in said[0]
    assert "refuses the login" in said[1]
    assert watch.looks > 20
    assert watch.found == []
    for text in said:
        canary.search_text("what it wrote", text)
    assert canary.found == []
    for file in (cloud.clouds, cloud.folder / "etc" / "glance-api.conf"):
        assert file.stat().st_mode & 0o077 == 0


def test_a_cloud_that_repeats_a_password(cloud: OpenStack, disk: Path, meddler: Meddler) -> None:
    password = cloud.passwords["member"]
    meddler.refuse = {"POST": 400}
    meddler.words = f"{password} {base64.b64encode(password.encode()).decode()}\x1b[2J"
    with pytest.raises(BuildFailed, match=r"answers 400: .*\*\*\* \*\*\*") as failed:
        upload(Cloud("meddled"), disk, "raw", "hello", {})
    assert password not in f"{failed.value!r} {failed.value.hint}"
    assert failed.value.message.isprintable()


def sha512(file: Path) -> str:
    """As coreutils compute it."""
    done = subprocess.run(["sha512sum", str(file)], capture_output=True, text=True, check=True)
    return done.stdout.split()[0]


@dataclass
class Checkout:
    """A checkout in which a VM image stands as if it had been built: any disk is one to a cloud."""

    bench: Bench
    image: str
    disk: Path

    @property
    def report(self) -> Path:
        return self.bench.report_file(self.image, "vm")

    def say(self, **changes: object) -> None:
        """Change its report."""
        self.report.write_text(json.dumps({**json.loads(self.report.read_text()), **changes}))


@pytest.fixture
def checkout(qcow2: Path, tmp_path: Path) -> Checkout:
    root, image = tmp_path / "checkout", "spherls"
    shutil.copytree(REPOSITORY / "recipes" / image, root / "recipes" / image)
    shutil.copytree(REPOSITORY / "base_images", root / "base_images")
    made = Checkout(Bench(root), image, root / "build" / image / f"{image}-1.qcow2")
    made.report.parent.mkdir(parents=True)
    shutil.copy(qcow2, made.disk)
    needs = [
        NeedReport(kind=kind, id=id, input_digest="a" * 64, digest=DIGEST)
        for kind, id in (("vmbase", "debian-13-vm"), ("oci", image), ("sif", image))
    ]
    written = report(
        kind="vm",
        id=image,
        file=made.disk.name,
        reference="",
        digest=f"sha256:{file_sha256(made.disk)}",
        bytes=made.disk.stat().st_size,
        needs=needs,
    )
    made.report.write_text(written.model_dump_json())
    return made


def test_the_command_sends_what_was_tested(cloud: OpenStack, checkout: Checkout) -> None:
    site = {"visibility": "community", "replace_frequency": "monthly", "uuid_validity": "last-3"}
    (checkout.bench.root / "site.yaml").write_text(json.dumps({"cloud_images": site}))
    ended = checkout.bench.run("upload", checkout.image, "--cloud", "member", "--json")
    (told,) = json.loads(ended.out)
    seen = Cloud("member").get(f"/images/{told['id']}")
    assert (seen["name"], seen["status"], seen["visibility"]) == (checkout.image, "active", "community")
    assert (seen["min_disk"], seen["min_ram"]) == (1, 1024 + 2048)
    assert (seen["os_distro"], seen["os_version"], seen["os_admin_user"]) == ("debian", "13", "debian")
    assert (seen["replace_frequency"], seen["uuid_validity"]) == ("monthly", "last-3")
    assert seen["imagefactory_container_digest"] == DIGEST
    assert seen["os_hash_value"] == told["sha512"] == sha512(checkout.disk)
    assert download_digest(Cloud("member"), told["id"]) == told["sha512"]
    again = checkout.bench.run("upload", checkout.image, "--cloud", "member")
    assert again.out.split()[1] == f"{told['id']},"
    assert again.out.rstrip().endswith("was there")
    assert len(listed(Cloud("member"))) == 1


def test_the_command_sends_a_raw_disk(cloud: OpenStack, checkout: Checkout, disk: Path) -> None:
    beside = checkout.disk.with_suffix(".raw")
    shutil.copy(disk, beside)
    facts = {"file": beside.name, "digest": f"sha256:{file_sha256(beside)}", "bytes": beside.stat().st_size}
    checkout.say(raw=facts)
    words = ("upload", checkout.image, "--cloud", "member", "--raw")
    with beside.open("r+b") as file:
        byte = file.read(1)
        file.seek(0)
        file.write(bytes([byte[0] ^ 1]))
    assert f"{beside} is damaged" in checkout.bench.run(*words, status=2).text
    assert_nothing_left(cloud)
    shutil.copy(disk, beside)
    (told,) = json.loads(checkout.bench.run(*words, "--json").out)
    seen = Cloud("member").get(f"/images/{told['id']}")
    assert (seen["disk_format"], seen["os_hash_value"]) == ("raw", sha512(disk))


def test_the_command_starts_nothing(cloud: OpenStack, checkout: Checkout) -> None:
    """But git, which says of what revision a recipe is."""
    with Watch(Canaries()) as watch:
        checkout.bench.run("upload", checkout.image, "--cloud", "member")
    names = {Path(words[0]).name for words in watch.programs}
    assert names <= {"git", Path(sys.executable).name, "python", "imagefactory"}, names
    assert watch.ran("imagefactory")


def test_the_command_sends_nothing_else(cloud: OpenStack, checkout: Checkout) -> None:
    """Neither what was not tested, nor another file, nor what must not leave this site."""
    upload_it = ("upload", checkout.image, "--cloud", "member")

    def refused(said: str, *more: str) -> None:
        ended = checkout.bench.run(*upload_it, *more, status=None)
        assert ended.status in (1, 2), ended.text
        assert said in ended.text
        assert_nothing_left(cloud)

    refused("has no uncompressed disk", "--raw")
    checkout.say(stand_ins=["spherls"])
    refused("holds stand-ins")
    checkout.say(stand_ins=[], non_free=["nvidia-driver"])
    refused("holds what not everybody may pass on: nvidia-driver")
    checkout.say(non_free=[], status="failed")
    refused("is not built and tested")
    checkout.say(status="passed")
    data = bytearray(checkout.disk.read_bytes())
    data[-1] ^= 1
    checkout.disk.write_bytes(data)
    refused("is damaged")
    checkout.disk.unlink()
    refused("is gone or not whole")
    checkout.report.unlink()
    refused("is not built and tested")
    ended = checkout.bench.run("upload", checkout.image, "--cloud", "nowhere", status=2)
    assert "Traceback" not in ended.text
