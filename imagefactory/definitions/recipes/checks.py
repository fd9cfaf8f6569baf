"""What must hold between the parts of a recipe, beyond the shape of each.

These checks read the plain text of the recipe, not its model, so that they also find what is wrong
beside a value of the wrong shape. That one is reported elsewhere, and passed over here.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from imagefactory.definitions.recipes.said import said_at
from imagefactory.definitions.recipes.variants import image_id, selector_of
from imagefactory.errors import Problem
from imagefactory.model.fields import IDENTIFIER
from imagefactory.model.recipe import DEFAULT_VARIANT, conda_name, pip_name
from imagefactory.model.spec import ImageDefinition, tag_of
from imagefactory.system.records import BUNDLES
from imagefactory.yamlfiles import Text, shorten

Where = tuple[str | int, ...]
TESTS_AT = "/tests/"
_TAKEN_TAGS = ("latest", "stand-in")
SYSTEM_FOLDERS = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin")

_LISTS: tuple[Where, ...] = (
    ("inputs", "apt"),
    ("inputs", "pip", "packages"),
    ("inputs", "pip", "constraints"),
    ("inputs", "conda", "channels"),
    ("inputs", "conda", "packages"),
    ("build", "inputs", "apt"),
    ("commands",),
    ("path",),
    ("home_folders",),
    ("topics",),
    ("tasks",),
    ("keywords",),
    ("edam",),
    ("parts",),
)


_LEFT_OUT: Mapping[str, tuple[tuple[Where, ...], Callable[[str], str]]] = {
    "apt": ((("inputs", "apt"), ("build", "inputs", "apt")), str),
    "pip": ((("inputs", "pip", "packages"), ("inputs", "pip", "constraints")), pip_name),
    "conda": ((("inputs", "conda", "packages"),), conda_name),
    "sources": ((("inputs", "sources"), ("build", "inputs", "sources")), str),
    "environment": ((("environment",),), str),
    "path": ((("path",),), str),
    "home_folders": ((("home_folders",),), str),
    "commands": ((("commands",),), str),
    "tests": ((("tests",),), str),
    "test_data": ((("test_data",),), str),
    "files": ((("files",),), str),
    "gui_apps": ((("gui_apps",),), str),
    "parts": ((("parts",),), str),
}
"""Where a recipe says what a variant can leave out, and what that is called."""


_WHOLE: Mapping[Where, tuple[str, ...]] = {
    ("inputs", "pip"): ("packages",),
    ("inputs", "conda"): ("channels", "packages"),
}
"""What must be said, once, of packages of a kind."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What stands around a recipe's file: its folder's name, its tests' files, the base images, whether there
    is another recipe, all its variants, all parts, and what those say that it has.
    """

    folder: str
    tests: Sequence[str]
    bases: Sequence[str]
    has_recipe: Callable[[str], bool]
    variants: Sequence[str]
    parts: Sequence[str]
    said_by_parts: Sequence[Text]


def check_recipe(recipe: Text, around: Surroundings) -> Iterator[Problem]:
    """Every defect that no single value has by itself."""
    name = recipe.at(("name",))
    if isinstance(name, str) and name != around.folder:
        yield recipe.problem(
            ("name",), f"the name is '{shorten(name)}', but the folder is '{shorten(around.folder)}'"
        )
    for where in _layers(recipe):
        yield from _check_known(recipe, (*where, "base"), around.bases, "base image")
        for place, _ in _items(recipe, (*where, "parts")):
            yield from _check_known(recipe, place, around.parts, "part")
        yield from _check_shared(recipe, where, around.tests)
        yield from _check_without(recipe, where, around.said_by_parts)
        yield from _check_whole(recipe, where)
    for where in _variants(recipe) or [()]:
        yield from _check_image(recipe, where, around)


def _variants(recipe: Text) -> list[Where]:
    variants = recipe.at(("variants",))
    return [("variants", name) for name in variants] if isinstance(variants, dict) else []


def check_part(part: Text, name: str, tests: Sequence[str], *, has_script: bool) -> Iterator[Problem]:
    """The same of a part, in the folder ``name``."""
    if part.at(("name",)) not in (name, None):
        yield part.problem(("name",), f"the name is not that of the folder, '{shorten(name)}'")
    yield from _check_shared(part, (), tests)
    if has_script and part.at(("build",)) is None:
        yield part.problem(
            (), "its install.sh runs in a stage of its own: 'build' says which folders to keep"
        )
    for key in ("build", "files"):
        if not has_script and part.at((key,)) is not None:
            message = f"a part without install.sh has no stage: remove '{key}', or write install.sh"
            yield part.problem((key,), message, key=True)


def _layers(recipe: Text) -> Iterator[Where]:
    """Where a recipe says what it is made of, and what differs."""
    for where in ((), *_variants(recipe)):
        yield where
        machines = recipe.at((*where, "architectures"))
        yield from ((*where, "architectures", name) for name in machines or () if isinstance(machines, dict))


def _check_shared(text: Text, where: Where, tests: Sequence[str]) -> Iterator[Problem]:
    yield from _check_repeats(text, where)
    yield from _check_test_files(text, where, tests)
    for test, _ in _items(text, (*where, "tests")):
        read = [name for _, name in _items(text, (*test, "data"))]
        for place, name in _items(text, (*test, "data")):
            if name in read[: int(place[-1])]:
                yield text.problem(place, f"'{shorten(str(name))}' is given twice")
    for place, command in _items(text, (*where, "commands")):
        if isinstance(command, str) and command and set(command) <= set("*?"):
            message = f"'{command}' is every program there is: say of which folder, such as /opt/app/bin/*"
            yield text.problem(place, message)


def _check_known(text: Text, where: Where, known: Sequence[str], what: str) -> Iterator[Problem]:
    name = text.at(where)
    if not isinstance(name, str) or name in known:
        return
    close = difflib.get_close_matches(name, known, n=1)
    suggestion = f"did you mean '{close[0]}'?" if close else f"there is: {', '.join(known) or 'none'}"
    yield text.problem(where, f"no {what} '{shorten(name)}', {suggestion}")


def _check_repeats(recipe: Text, where: Where) -> Iterator[Problem]:
    items = [(place, value) for field in _LISTS for place, value in _items(recipe, (*where, *field))]
    items += [
        ((*place, "name"), recipe.at((*place, "name"))) for place, _ in _items(recipe, (*where, "tests"))
    ]
    seen: dict[tuple[Where, str], Where] = {}
    for place, value in items:
        if not isinstance(value, str):
            continue
        home = tuple(part for part in place if isinstance(part, str))
        first = seen.setdefault((home, value), place)
        if first != place:
            line = recipe.document.place(first)[0]
            yield recipe.problem(place, f"'{shorten(value)}' is given twice: first in line {line}")


def _check_test_files(recipe: Text, where: Where, files: Sequence[str]) -> Iterator[Problem]:
    known = {str(path) for file in files for path in (PurePath(file), *PurePath(file).parents)} | {"."}
    for test, _ in _items(recipe, (*where, "tests")):
        for place, word in _items(recipe, (*test, "command")):
            if not isinstance(word, str) or not word.startswith(TESTS_AT):
                continue
            file = word.removeprefix(TESTS_AT)
            if str(PurePath(file)) not in known:
                close = difflib.get_close_matches(file, files, n=1)
                suggestion = f", did you mean '{TESTS_AT}{close[0]}'?" if close else ""
                yield recipe.problem(place, f"there is no file tests/{shorten(file)}{suggestion}")


def _check_without(recipe: Text, where: Where, parts: Sequence[Text]) -> Iterator[Problem]:
    """What a variant leaves out must be there: a wrong name would leave everything in."""
    for kind, (homes, called) in _LEFT_OUT.items():
        left_out = list(_items(recipe, (*where, "without", kind)))
        if not left_out:
            continue
        there = {called(name) for text in (recipe, *parts) for home in homes for name in _named(text, home)}
        for place, name in left_out:
            if isinstance(name, str) and called(name) not in there:
                close = difflib.get_close_matches(called(name), there, n=1)
                suggestion = f", did you mean '{close[0]}'?" if close else ""
                yield recipe.problem(place, f"the recipe itself has no '{shorten(name)}' there{suggestion}")


def _check_whole(recipe: Text, where: Where) -> Iterator[Problem]:
    """A variant may leave to its recipe what packages of a kind need, if that has them."""
    for home, keys in _WHOLE.items():
        given = recipe.at((*where, *home))
        if where and isinstance(given, dict) and recipe.at(home) is None:
            for key in keys:
                if key not in given:
                    yield recipe.problem((*where, *home), f"the key '{key}' is missing")


def _named(recipe: Text, home: Where) -> Iterator[str]:
    """The names in a list of texts, a list of tests, or a mapping."""
    value = recipe.at(home)
    for item in value if isinstance(value, (tuple, dict)) else ():
        name = item.get("command" if home[-1] == "gui_apps" else "name") if isinstance(item, dict) else item
        if isinstance(name, str):
            yield name


def check_images(recipe: Text, images: Iterable[ImageDefinition]) -> Iterator[Problem]:
    """Defects that show only in what images are in the end."""
    for image in images:
        place = said_at(recipe, image, "version")
        source = image.version_from
        if source and source.name not in (names := image.inputs.names()[source.kind]):
            close = difflib.get_close_matches(source.name, names, n=1, cutoff=0.5)
            suggestion = f", did you mean '{close[0]}'?" if close else ""
            message = f"{image.id} has no '{shorten(source.name)}' among its {source.kind} packages"
            yield recipe.problem((*place, "from"), f"version.from: {message}{suggestion}")
        yield from _check_gui_apps(recipe, image)
        yield from _check_patterns(recipe, image)
        yield from _check_python(recipe, image)
        yield from _check_test_data(recipe, image)
        tag = tag_of(image.version)
        if tag in _TAKEN_TAGS:
            yield recipe.problem(
                place, f"version: '{tag}' is a tag with a meaning of its own: choose another"
            )
        same = [other.id for other in image.siblings if tag_of(other.version) == tag != ""]
        if same and same[0] > image.id:
            yield recipe.problem(place, clash(image, same[0]))


def check_written(recipe: Text, files: Sequence[str]) -> Iterator[Problem]:
    """A file that stands in the recipe is not in its folder too, nor in the way of one that is."""
    for where in _layers(recipe):
        for path in _named(recipe, (*where, "files")):
            around = {path, *(str(parent) for parent in PurePath(path).parents)}
            for file in files:
                if file in around or path in map(str, PurePath(file).parents):
                    message = f"files: there is a file files/{shorten(file)} too"
                    yield recipe.problem((*where, "files", path), message)
            for other in {*_named(recipe, ("files",)), *_named(recipe, (*where, "files"))} - {path}:
                if other in around:
                    message = f"files: '{shorten(other)}' is a file already, and no folder"
                    yield recipe.problem((*where, "files", path), message)


def _check_gui_apps(recipe: Text, image: ImageDefinition) -> Iterator[Problem]:
    """Each starts a command of the image, and has its icon in the recipe's folder."""
    place = said_at(recipe, image, "gui_apps")
    icons = [file.path for file in image.folder.icons]
    for app in image.gui_apps:
        if app.command not in image.commands:
            message = f"{app.name}: '{app.command}' is none of the commands of {image.id}"
            yield recipe.problem(place, message)
        if app.icon and app.icon not in icons:
            close = difflib.get_close_matches(app.icon, icons, n=1)
            suggestion = f", did you mean '{close[0]}'?" if close else ""
            yield recipe.problem(place, f"{app.name}: there is no file icons/{app.icon}{suggestion}")


def _check_patterns(recipe: Text, image: ImageDefinition) -> Iterator[Problem]:
    """Whoever types a command of a folder finds it."""
    for pattern in image.patterns:
        folder = pattern.rpartition("/")[0]
        if folder and folder not in (*image.path, *SYSTEM_FOLDERS):
            place = said_at(recipe, image, "commands")
            yield recipe.problem(place, f"commands: {folder} is not in 'path', where programs are looked for")


def _check_python(recipe: Text, image: ImageDefinition) -> Iterator[Problem]:
    """The Python that conda is to bring is asked for."""
    pip, names = image.inputs.pip, image.inputs.names()["conda"]
    if pip and pip.python == "conda" and "python" not in names:
        place = said_at(recipe, image, "inputs")
        message = f"pip.python: {image.id} has no conda package 'python': name it, such as python 3.11.*"
        yield recipe.problem((*place, "pip", "python"), message)


def _check_test_data(recipe: Text, image: ImageDefinition) -> Iterator[Problem]:
    """Tests name the data that they read, and all data are read."""
    read = set[str]()
    for test in image.tests:
        place = _test_at(recipe, image, test.name)
        in_command = {word.split("/")[2] for word in test.command if re.match(r"/data/[^/]+/", word)}
        read |= {*test.data, *in_command}
        for name in sorted({*test.data, *in_command}):
            if name not in image.test_data:
                close = difflib.get_close_matches(name, image.test_data, n=1)
                suggestion = f"did you mean '{close[0]}'?" if close else "declare it under 'test_data'"
                message = f"the test {test.name} reads '{shorten(name)}', which is no test data: {suggestion}"
                yield recipe.problem(place, message)
            elif name not in test.data:
                message = f"the test {test.name} reads /data/{name}: name it in its 'data'"
                yield recipe.problem(place, message)
    for name in image.test_data.keys() - read:
        yield recipe.problem(said_at(recipe, image, "test_data"), f"no test of {image.id} reads '{name}'")


def _test_at(recipe: Text, image: ImageDefinition, name: str) -> Where:
    """Where a test of an image is said; its part may say it elsewhere."""
    for home in (("variants", image.variant, "tests"), ("tests",)):
        for place, _ in _items(recipe, home):
            if recipe.at((*place, "name")) == name:
                return place
    return ("tests",)


def clash(image: ImageDefinition, other: str) -> str:
    """That two images would have one name and one version, in words."""
    name = f"{image.repository}:{tag_of(image.version)}"
    one, two = sorted((image.id, other))
    return f"the images {one} and {two} would both be called {name}"


IS_NAME = re.compile(IDENTIFIER)
MAX_ID = 63  # as a DNS label: it becomes part of tags and host names


def _check_image(recipe: Text, where: Where, around: Surroundings) -> Iterator[Problem]:
    """Defects that show only once a variant is applied."""
    name = shorten(image_id(around.folder, _variant(where)))

    def given(*field: str) -> bool:
        return bool(recipe.at((*where, *field)) or recipe.at(field))

    def here(message: str) -> Problem:
        return recipe.problem(where, message, key=bool(where))

    yield from map(here, _wrong_names(recipe, where, around))
    if not given("version"):
        yield here(f"the image {name} has no version: add the key 'version'")
    if not given("tests") or _all_left_out(recipe, where):
        yield here(f"the image {name} has no smoke test: add one under 'tests'")
    for place in _sources(recipe, where, "build", "inputs", "sources"):
        if place[-1] in {known[-1] for known in _sources(recipe, where, "inputs", "sources")}:
            message = f"the source '{shorten(str(place[-1]))}' is declared under 'inputs' too"
            yield recipe.problem(place, message, key=True)


def _wrong_names(recipe: Text, where: Where, around: Surroundings) -> Iterator[str]:
    """What an image can't be called, in words."""
    name = shorten(image_id(around.folder, _variant(where)))
    if name in around.bases:
        yield f"the image {name} would have the name of a base image"
    if len(name) > MAX_ID:
        yield f"the image's name {name} is longer than {MAX_ID} letters"
    if name == BUNDLES:
        yield f"no image can be called {name}: build/{name}/ holds bundles"
    selector = selector_of(around.folder, _variant(where), around.variants)
    for word in dict.fromkeys((name, selector)):
        if _is_another(word, around):
            yield f"the image {word} would have the name of a recipe, which means all images of that one"
    called = recipe.at((*where, "image")) or recipe.at(("image",))
    if isinstance(called, str) and (called in around.bases or _is_another(called, around)):
        yield f"image: {called} is the name of another recipe, or of a base image"


def _is_another(word: str, around: Surroundings) -> bool:
    """Whether there is another recipe of that name."""
    return word != around.folder and bool(IS_NAME.fullmatch(word)) and around.has_recipe(word[:MAX_ID])


def _variant(where: Where) -> str:
    return str(where[-1]) if where else DEFAULT_VARIANT


def _all_left_out(recipe: Text, where: Where) -> bool:
    """Whether a variant leaves out every test and has none of its own."""
    own, left_out = recipe.at((*where, "tests")), {*_named(recipe, (*where, "without", "tests"))}
    return bool(where) and not own and left_out.issuperset(_named(recipe, ("tests",)))


def _sources(recipe: Text, where: Where, *field: str) -> list[Where]:
    left_out = {*_named(recipe, (*where, "without", "sources"))}
    own = [(*where, *field, name) for name in _named(recipe, (*where, *field))]
    if not where:
        return own
    return own + [(*field, name) for name in _named(recipe, field) if name not in left_out]


def _items(recipe: Text, where: Where) -> list[tuple[Where, object]]:
    """The items of a list, each with its place; none where there is no list."""
    value = recipe.at(where)
    return [((*where, index), item) for index, item in enumerate(value)] if isinstance(value, tuple) else []
