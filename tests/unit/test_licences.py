"""Licences that whoever builds an image must accept first."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from imagefactory.drive.licences import accepted, require_acceptance
from imagefactory.errors import BadInput
from imagefactory.model.recipe import Terms
from imagefactory.model.settings import SiteFile
from imagefactory.model.spec import ImageDefinition
from imagefactory.system.site import Site
from tests.unit.samples import image

TEXT = "https://example.org/licence-1"
ASKS = Terms(policy="accept-first", url=TEXT, note="not for sale")
APP = image(terms=ASKS)
NOBODY = None


def other(url: str = "https://example.org/licence-2") -> ImageDefinition:
    return image(terms=Terms(policy="accept-first", url=url))


class Person:
    """Says yes or no, and remembers the questions."""

    def __init__(self, answer: bool = True) -> None:
        self.answer = answer
        self.questions: list[str] = []

    def __call__(self, question: str) -> bool:
        self.questions.append(question)
        return self.answer


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where answers are remembered."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "imagefactory" / "licences.json"


def test_what_asks_for_nothing_is_not_asked_for(file: Path) -> None:
    person = Person()
    for terms in (Terms(), Terms(policy="private", url=TEXT)):
        require_acceptance([image(terms=terms)], ["app"], Site(), person)
        assert accepted(image(terms=terms), Site()) is None
    assert person.questions == []
    assert not file.exists()


def test_a_person_is_asked_once(file: Path) -> None:
    person = Person()
    variant = image(id="app-gpu", variant="gpu", terms=ASKS)
    assert accepted(APP, Site()) is None
    require_acceptance([APP, variant], [], Site(), person)
    require_acceptance([APP], [], Site(), person)
    require_acceptance([APP], [], Site(), NOBODY)
    assert person.questions == [
        f"app: An application asks you to accept its licence:\n  {TEXT}\n  not for sale\nDo you?"
    ]
    found = accepted(APP, Site())
    assert found is not None
    assert (found.url, found.how) == (TEXT, "asked")
    assert found.when.endswith("Z")
    assert json.loads(file.read_text()) == {"app": found.model_dump()}


@pytest.mark.parametrize("ask", [NOBODY, Person(answer=False)])
def test_without_a_yes_nothing_is_built(file: Path, ask: Person | None) -> None:
    with pytest.raises(BadInput) as caught:
        require_acceptance([APP], ["other"], Site(), ask)
    assert caught.value.message == f"app: its licence is not accepted: {TEXT} (not for sale)"
    assert caught.value.hint == (
        "read it; if you accept it, add --accept-licence app, or name app under 'accept_licences' "
        "in site.yaml"
    )
    assert not file.exists()
    assert accepted(APP, Site()) is None


def test_a_word_on_the_command_line_is_remembered(file: Path) -> None:
    require_acceptance([APP], ["app"], Site(), NOBODY)
    require_acceptance([APP], [], Site(), NOBODY)
    found = accepted(APP, Site())
    assert found is not None
    assert found.how == "--accept-licence"


def test_another_text_is_another_licence() -> None:
    require_acceptance([APP], ["app"], Site(), NOBODY)
    assert accepted(other(), Site()) is None
    with pytest.raises(BadInput, match="licence-2"):
        require_acceptance([other()], [], Site(), NOBODY)
    person = Person()
    require_acceptance([other()], [], Site(), person)
    assert len(person.questions) == 1
    assert accepted(other(), Site()) is not None


def test_a_site_may_accept_for_all_who_work_there(file: Path) -> None:
    site = Site(SiteFile(accept_licences=("app",)))
    require_acceptance([APP], [], site, NOBODY)
    require_acceptance([other()], [], site, NOBODY)
    found = accepted(APP, site)
    assert found is not None
    assert (found.url, found.how, found.when) == (TEXT, "site settings", "")
    assert not file.exists()
    with pytest.raises(BadInput):
        require_acceptance([APP], [], Site(SiteFile(accept_licences=("ap", "app-gpu"))), NOBODY)


def test_one_that_is_refused_does_not_forget_the_others(file: Path) -> None:
    require_acceptance([APP], ["app"], Site(), NOBODY)
    second = image(id="second", recipe="second", terms=ASKS)
    require_acceptance([second], ["second"], Site(), NOBODY)
    assert set(json.loads(file.read_text())) == {"app", "second"}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"app": 1}', '{"app": {"how": "asked"}}', "\x00"])
def test_what_cannot_be_read_counts_as_no_answer(file: Path, content: str) -> None:
    file.parent.mkdir(parents=True)
    file.write_text(content)
    assert accepted(APP, Site()) is None
    require_acceptance([APP], ["app"], Site(), NOBODY)
    assert accepted(APP, Site()) is not None


def test_the_answer_is_each_user_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME")
    require_acceptance([APP], ["app"], Site(), NOBODY)
    assert (Path(os.environ["HOME"]) / ".local" / "state" / "imagefactory" / "licences.json").is_file()
