"""The command line: its words, its exit statuses, and what it prints for programs."""

from __future__ import annotations

import json
import pickle
import shlex
from collections.abc import Callable
from typing import Any

import pytest

from imagefactory.cli.errors import show_error
from imagefactory.cli.runs import unwatched
from imagefactory.definitions.recipes import load_images
from imagefactory.drive.result import Result
from imagefactory.drive.session import Session
from imagefactory.errors import (
    BadInput,
    BuildFailed,
    DiskFull,
    EngineError,
    FactoryError,
    Interrupted,
    NetworkFault,
    NotLocked,
    TestsFailed,
)
from imagefactory.model.report import MemoryReport
from imagefactory.model.target import TargetId, Unlocked
from imagefactory.plan import targets_of_image
from imagefactory.system.records import record_of
from imagefactory.system.workspace import Workspace
from tests.unit.samples import RECIPE, lock_all, named, report, target

Call = Callable[..., tuple[int, str, str]]
Make = Callable[..., Workspace]


@pytest.fixture
def root(workspace: Make) -> Workspace:
    workspace(named(RECIPE, "eso") + "variants: {uves: {}, muse: {}}\n", "eso")
    root = workspace(RECIPE)
    lock_all(root)
    return root


@pytest.fixture
def call(root: Workspace, imagefactory: Call) -> Call:
    """The command line in a checkout with two recipes that are locked."""
    return lambda *words: imagefactory("--root", root.root, *words)


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("--help", 0),
        ("-h", 0),
        ("--version", 0),
        ("build --help", 0),
        ("check", 0),
        ("list", 0),
        ("show app", 0),
        ("plan", 0),
        ("render app", 0),
        ("schema", 0),
        ("completion zsh", 0),
        ("completion tcsh", 2),
        ("schema other", 2),
        ("biuld", 2),
        ("build", 2),
        ("build --fast app", 2),
        ("build ap", 2),
        ("build --debug-shell eso", 2),
        ("test zzz", 2),
        ("show zzz", 2),
        ("show", 2),
        ("check zzz", 2),
        ("new 'My App'", 2),
        ("new app", 2),
        ("new debian-12", 2),
        ("render zzz", 2),
        ("raw app", 2),
    ],
)
def test_exit_statuses(call: Call, words: str, status: int) -> None:
    found, out, err = call(*shlex.split(words))
    assert found == status
    assert "Traceback" not in out + err
    assert bool(err) == (status != 0)


@pytest.mark.parametrize("words", ["check", "list", "new x", "plan x"])
def test_no_checkout_is_one_clear_line(imagefactory: Call, tmp_path: Any, words: str) -> None:
    status, _, err = imagefactory("--root", tmp_path, *words.split())
    assert status == 2
    assert err.splitlines() == [
        f"error: no recipes/ and base_images/ in {tmp_path.resolve()} or above it",
        "  → go to your checkout, or name it with --root",
    ]


def test_an_unknown_name_suggests_one(call: Call) -> None:
    assert call("show", "eso-mus")[2].splitlines() == [
        "error: no image, recipe or base image is called 'eso-mus'",
        "  → did you mean eso-muse or eso-uves or eso?",
    ]


def test_what_a_recipe_s_name_means_is_told(call: Call, root: Workspace) -> None:
    (root.recipes / "eso" / "recipe.yaml").write_text(
        named(RECIPE, "eso") + "variants: {default: {}, muse: {}}\n"
    )
    lock_all(root)
    assert call("plan", "eso")[2] == "eso means eso-default, eso-muse\n"
    assert [line.partition(":")[0] for line in call("plan", "eso")[1].splitlines()] == [
        *("debian-12", "eso", "eso (SIF)", "eso-muse", "eso-muse (SIF)"),
    ]
    _, out, err = call("plan", "eso-default", "--json")
    assert ({each["id"] for each in json.loads(out)}, err) == ({"debian-12", "eso"}, "")
    assert "eso-default, where eso means all images of the recipe" in call("show", "eso-default")[1]
    assert call("build", "--debug-shell", "eso")[2].splitlines() == [
        "eso means eso-default, eso-muse",
        "error: --debug-shell takes exactly one image",
        "  → name one of eso-default, eso-muse",
    ]


def test_check_counts_what_is_fine(call: Call) -> None:
    assert call("check") == (0, "4 images: no problems\n", "")
    assert call("check", "app") == (0, "1 image: no problems\n", "")


def test_check_for_a_program(call: Call, root: Workspace) -> None:
    assert call("check", "--json") == (0, "[]\n", "")
    (root.recipes / "app" / "recipe.yaml").write_text(RECIPE.replace("MIT", "M I T"))
    status, out, err = call("check", "--json")
    assert (status, err) == (2, "")
    assert json.loads(out) == [
        {
            "path": "recipes/app/recipe.yaml",
            "line": 5,
            "column": 10,
            "message": "licence: expected an SPDX licence expression, such as GPL-3.0-or-later, "
            "found 'M I T'",
        }
    ]


def test_a_new_recipe_passes_the_check(call: Call, root: Workspace) -> None:
    status, out, _ = call("new", "my-app")
    assert (status, out.splitlines()[0]) == (0, "wrote recipes/my-app/; now edit recipe.yaml, then run")
    assert call("check", "my-app") == (0, "1 image: no problems\n", "")
    status, _, err = call("render", "my-app")
    assert (status, err.splitlines()) == (
        0,
        [
            "my-app: its inputs are not locked yet: rendered without pinned versions",
            "  → imagefactory lock my-app pins them",
        ],
    )
    lock_all(root)
    assert call("render", "my-app")[0] == 0
    assert sorted(path.name for path in root.recipes.iterdir()) == ["app", "eso", "my-app"]
    files = [path for path in (root.recipes / "my-app").rglob("*") if path.is_file()]
    assert all("@NAME@" not in path.read_text() for path in files)
    assert call("new", "my-app")[2].startswith(
        "error: there is an image, recipe or base image called 'my-app' already"
    )


@pytest.mark.parametrize("name", ["../x", "a/b", "A", "", "-x", "x-", "a--b", "x" * 64, "a b", "a\nb"])
def test_a_new_recipe_needs_a_plain_name(call: Call, root: Workspace, name: str) -> None:
    assert call("new", "--", name)[0] == 2
    assert sorted(path.name for path in root.root.rglob("*") if path.is_dir()) == [
        *("app", "base_images", "eso", "recipes")
    ]


def test_list_says_what_is_not_locked_and_what_that_waits_for(
    call: Call, root: Workspace, workspace: Make
) -> None:
    more = "  conda: {channels: [lab, 'https://conda.example.org/free/'], packages: [numpy]}\n"
    index = "{url: 'https://wheels.example.org/cpu', packages: [torch]}"
    more += f"  pip: {{packages: [scipy], indexes: {{own: {index}}}}}\n"
    workspace(named(RECIPE, "far").replace("  apt: [hello]\n", f"  apt: [hello]\n{more}"), "far")
    (root.recipes / "eso" / "lock.yaml").unlink()
    out = call("list")[1]
    assert [line.split()[-2:] for line in out.splitlines()[1:5]] == [
        ["not", "built"],
        ["not", "locked"],
        ["not", "locked"],
        ["not", "locked"],
    ]
    assert out.splitlines()[5:] == [
        "not locked: eso-uves, eso-muse",
        "  its inputs are not locked yet",
        "not locked: far",
        (
            "  its inputs are not locked yet; waits for index wheels.example.org/cpu, channel lab, "
            "channel conda.example.org/free"
        ),
    ]
    listed = {each["id"]: each["unlocked"] for each in json.loads(call("list", "--json")[1])}
    assert listed["app"] is None
    assert listed["eso-muse"] == {"reason": "its inputs are not locked yet", "needs": []}
    assert listed["far"]["needs"][1:] == ["channel lab", "channel conda.example.org/free"]
    assert "not locked    its inputs are not locked yet; waits for index" in call("show", "far")[1]


def test_list_and_show_for_a_program(call: Call, root: Workspace) -> None:
    record_of(root, TargetId("oci", "app")).write(report())
    listed = json.loads(call("list", "--json")[1])
    assert [image["id"] for image in listed] == ["app", "eso-uves", "eso-muse"]
    assert [each["kind"] for each in listed[0]["targets"]] == ["oci", "sif", "vm"]
    assert listed[0]["targets"][0]["report"]["digest"] == report().digest
    assert "ingredients" not in listed[0]["targets"][0]["report"]
    assert listed[0]["targets"][1]["report"] is None
    (shown,) = json.loads(call("show", "app", "--json")[1])
    assert (shown["id"], shown["base"], shown["commands"]) == ("app", "debian-12", ["hello"])
    assert "imagefactory/app:1.0" in call("show", "app")[1]
    assert "1.23 MB" in call("list")[1]
    assert listed[0]["unlocked"] is None
    assert "locked" not in call("list")[1]
    assert listed[0]["targets"][0]["stale"]
    assert "  stale\n" in call("list")[1]
    assert "stale" in call("show", "app")[1]


@pytest.mark.parametrize(
    ("memory", "told"),
    [
        (None, False),
        (MemoryReport(how="bounded for all processes together (cgroup)", together=True), False),
        (MemoryReport(how="bounded for each process by itself (prlimit)", together=False), True),
    ],
)
def test_memory_that_was_not_bounded_for_all_is_told(
    memory: MemoryReport | None, told: bool, call: Call, root: Workspace
) -> None:
    record_of(root, TargetId("sif", "app")).write(report(target("sif"), memory=memory))
    shown = call("show", "app")[1]
    assert ("tests' memory  bounded for each process by itself (prlimit)\n" in shown) is told
    assert ("tests' memory" in shown) is told


def test_a_readme_is_shown(call: Call, root: Workspace) -> None:
    (root.recipes / "app" / "README.md").write_text("# Hello\n\nBring *data*.\n")
    assert "# Hello\n\nBring *data*.\n" in call("show", "app")[1]
    (shown,) = json.loads(call("show", "app", "--json")[1])
    assert shown["readme"] == "# Hello\n\nBring *data*.\n"


def test_a_base_image_is_shown_too(call: Call, root: Workspace) -> None:
    assert "not made here: imagefactory build debian-12" in call("show", "debian-12")[1]
    record_of(root, TargetId("base", "debian-12")).write(
        report(kind="base", id="debian-12", reference="", file="layout")
    )
    assert "build/debian-12/layout" in call("show", "debian-12")[1]
    (shown,) = json.loads(call("show", "debian-12", "--json")[1])
    assert (shown["id"], shown["suite"]) == ("debian-12", "bookworm")
    assert [(each["kind"], each["report"]["file"]) for each in shown["targets"]] == [("base", "layout")]


def test_plan_says_why(call: Call) -> None:
    never = "build, it was never made here"
    assert call("plan", "app")[1] == f"debian-12: {never}\napp: {never}\napp (SIF): {never}\n"
    planned = json.loads(call("plan", "app", "--json")[1])
    assert [(each["kind"], each["id"], each["action"]) for each in planned] == [
        ("base", "debian-12", "build"),
        ("oci", "app", "build"),
        ("sif", "app", "build"),
    ]
    assert all(len(each["input_digest"]) == 64 for each in planned)


def test_every_image_is_planned_and_a_base_image_once(call: Call) -> None:
    lines = call("plan")[1].splitlines()
    assert [line.partition(": ")[0] for line in lines] == [
        *("debian-12", "app", "app (SIF)"),
        *("eso-uves", "eso-uves (SIF)", "eso-muse", "eso-muse (SIF)"),
    ]
    assert call("plan", "debian-12")[1] == "debian-12: build, it was never made here\n"


def test_a_plan_of_a_base_image_that_moved_says_where_what_follows_is(call: Call, root: Workspace) -> None:
    kept = report().model_copy(update={"kind": "base", "id": "debian-12", "input_digest": "0" * 64})
    record_of(root, TargetId("base", "debian-12")).write(kept)
    follows = "what follows from it: imagefactory"
    first, last = call("plan", "debian-12")[1].splitlines()
    assert first.startswith("debian-12: build, ")
    assert (last.startswith(follows), last.endswith(" plan")) == (True, True)
    assert follows not in call("plan", "app", "debian-12")[1]
    assert follows not in call("plan")[1]


def test_plan_says_for_what_there_is_too_little_memory(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": (768 << 20) // 4096}
    monkeypatch.setattr("imagefactory.drive.room.os.sysconf", facts.__getitem__)
    warning = "needs 1 GiB of memory, 0.75 GiB there: it runs alone and may fail"
    assert [line for line in call("plan", "app")[1].splitlines() if line.startswith(" ")] == [
        f"  {warning}"
    ] * 2
    planned = json.loads(call("plan", "app", "--json")[1])
    assert [each["warnings"] for each in planned] == [[], [warning], [warning]]


def test_plan_says_what_is_not_locked(call: Call, root: Workspace) -> None:
    file = root.recipes / "app" / "recipe.yaml"
    file.write_text(RECIPE.replace("apt: [hello]", "apt: [hello, cowsay]"))
    base = "debian-12: build, it was never made here\n"

    def both(reason: str) -> str:
        return f"app: build, {reason}\napp (SIF): build, {reason}\n"

    changed = "its inputs, or its base image's, changed since they were locked"
    assert call("plan", "app")[1] == base + both(changed)
    (root.recipes / "app" / "lock.yaml").unlink()
    assert call("plan", "app")[1] == base + both("its inputs are not locked yet")
    (root.bases / "debian-12.lock.yaml").unlink()
    reason = "base image debian-12 is not locked yet"
    assert call("plan", "app")[1] == f"debian-12: build, {reason}\n" + both(reason)
    planned = json.loads(call("plan", "app", "--json")[1])
    assert {(each["action"], each["input_digest"]) for each in planned} == {("build", None)}


def test_render_writes_the_same_files_every_time(call: Call, root: Workspace, tmp_path: Any) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        assert call("render", "--all", "--to", folder)[0] == 0
    one, two = ({str(p.relative_to(f)): p.read_bytes() for p in f.rglob("*") if p.is_file()} for f in folders)
    assert one == two
    assert {"app/Dockerfile", "eso-muse/Dockerfile", "app/recipe/install.sh"} <= set(one)


def test_render_pins_nothing_of_what_is_not_locked_and_says_so(
    call: Call, root: Workspace, tmp_path: Any
) -> None:
    (root.recipes / "app" / "lock.yaml").unlink()
    told = "app: its inputs are not locked yet: rendered without pinned versions"
    for words in (("--all",), ("app",)):
        status, out, err = call("render", *words, "--to", tmp_path)
        assert (status, err.splitlines()[0]) == (0, told)
        assert err.splitlines()[1].endswith(" lock app pins them")
        assert len(err.splitlines()) == 2
        assert str(tmp_path / "app") in out.splitlines()
        assert "VERSIONS ARE NOT PINNED" in (tmp_path / "app" / "Dockerfile").read_text()
        assert "VERSIONS ARE NOT PINNED" in (tmp_path / "app" / "app.def").read_text()
    assert "NOT PINNED" not in (tmp_path / "eso-muse" / "Dockerfile").read_text()
    # A base image that is not locked pins nothing either, and needs nothing.
    (root.bases / "debian-12.lock.yaml").unlink()
    status, _, err = call("render", "eso-muse", "--to", tmp_path)
    assert (status, err.splitlines()[0]) == (
        0,
        "eso-muse: base image debian-12 is not locked yet: rendered without pinned versions",
    )
    assert "VERSIONS ARE NOT PINNED" in (tmp_path / "eso-muse" / "Dockerfile").read_text()


def test_nothing_is_made_of_what_is_rendered_without_a_lock(root: Workspace) -> None:
    (root.recipes / "app" / "lock.yaml").unlink()
    (app,) = load_images(root, ["app"])
    resolver = unwatched(root).resolver
    assert resolver.render_unpinned(app)
    graph = resolver.graph([app], targets_of_image(app))
    assert all(isinstance(graph[id], Unlocked) for id in targets_of_image(app))
    with pytest.raises(NotLocked):
        resolver.render(app)


def test_render_overwrites_only_what_it_wrote(call: Call, tmp_path: Any) -> None:
    folder = tmp_path / "to" / "app"
    for _ in range(2):
        assert call("render", "app", "--to", tmp_path / "to")[0] == 0
    (folder / "notes").write_text("mine")
    status, _, err = call("render", "app", "--to", tmp_path / "to")
    assert (status, err.splitlines()) == (
        2,
        [f"error: {folder} holds something else", "  → give an empty folder with --to"],
    )
    assert (folder / "notes").read_text() == "mine"


class Builds:
    """Stands in for the pipeline: every build ends as the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.results: list[Result] = []
        monkeypatch.setattr("imagefactory.drive.tasks.build_targets", self.run)
        monkeypatch.setattr("imagefactory.drive.tasks.test_images", self.run)

    def run(self, session: Session, selection: Any, *more: Any) -> Any:
        if any(isinstance(result.error, Interrupted) for result in self.results):
            raise Interrupted("interrupted")
        return self.results


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> Builds:
    return Builds(monkeypatch)


@pytest.mark.parametrize(
    ("errors", "status"),
    [
        ([None], 0),
        ([None, BuildFailed("it failed")], 1),
        ([TestsFailed("it failed")], 1),
        ([NetworkFault("it failed"), None], 1),
        ([DiskFull("it failed")], 1),
        ([BuildFailed("it failed"), BadInput("bad")], 2),
        ([EngineError("gone"), BuildFailed("it failed")], 3),
        ([Interrupted("interrupted")], 130),
    ],
)
@pytest.mark.parametrize("command", ["build", "test"])
def test_the_worst_failure_decides_the_exit_status(
    call: Call, builds: Builds, errors: list[FactoryError | None], status: int, command: str
) -> None:
    builds.results = [
        Result("app", "failed" if error else "build", 1.0, (), None if error else report(), error, "oci")
        for error in errors
    ]
    found, out, err = call(command, "app")
    assert found == status
    assert "Traceback" not in out + err
    for error in errors:
        assert error is None or error.message in err


def test_results_for_a_program(call: Call, builds: Builds) -> None:
    builds.results = [
        Result("app", "build", 1.5, ("it was never made here",), report(), kind="oci"),
        Result("eso-muse", "failed", 0.5, error=BuildFailed("it failed", hint="mend it")),
    ]
    status, out, _ = call("build", "app", "eso-muse", "--json")
    good, bad = json.loads(out)
    assert status == 1
    assert (good["id"], good["kind"], good["error"]) == ("app", "oci", None)
    assert good["report"]["bytes"] == 1_234_567
    assert bad["kind"] is None
    assert bad["error"] == {"message": "it failed", "hint": "mend it", "exit_status": 1}


def test_a_failed_test_is_shown_with_what_it_expects(capsys: pytest.CaptureFixture[str]) -> None:
    error = TestsFailed(
        "app: smoke test runs: the file out is missing",
        hint="the log is x",
        details=[["app: smoke test runs failed", "  $ hello", "  ✓ exit status 0", "  | bye"]],
    )
    show_error(pickle.loads(pickle.dumps(error)))  # as workers hand it on
    assert capsys.readouterr().err.splitlines() == [
        "error: app: smoke test runs failed",
        "  $ hello",
        "  ✓ exit status 0",
        "  | bye",
        "  → the log is x",
    ]


def test_a_failure_shows_what_where_and_what_next(capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    error = BuildFailed(
        "app: step 'install.sh' ended with status 2",
        hint="mend it",
        tail=["make: \x1b[31mno rule\x1b[0m"],
        log=tmp_path / "build.log",
    )
    show_error(error)
    assert capsys.readouterr().err.splitlines() == [
        "  | make:  [31mno rule [0m",
        "error: app: step 'install.sh' ended with status 2",
        "  → mend it",
        f"  → everything it wrote: {tmp_path / 'build.log'}",
    ]


def test_a_broken_recipe_does_not_hide_the_others(root: Workspace, call: Call) -> None:
    (root.recipes / "broken").mkdir()
    (root.recipes / "broken" / "recipe.yaml").write_text("name: broken\n")
    status, out, err = call("list")
    assert status == 2
    assert "app " in out
    assert "recipes/broken/recipe.yaml:1:1: the key 'base' is missing" in err
    assert call("list", "app")[0] == 0
