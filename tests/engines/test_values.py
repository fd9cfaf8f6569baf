"""Values of a recipe are data: they arrive as they are, and nothing in them is run."""

from __future__ import annotations

from tests.engines.bench import Bench, docker, inspect

NASTY = """a "b" 'c' $D ${E} $(touch /pwned) `touch /pwned` \\ \\n %s ; # & | < > * é→😀 {{ 1 }} {% x %}"""
ENVIRONMENT = {
    "NASTY": NASTY,
    "EMPTY": "",
    "SPACES": "  two  spaces  ",
    "BACKSLASH": "ends with \\",
    "AT_HOME": "${HOME}/x y/${HOME}",
    "MIXED": "$(touch /pwned) ${HOME} \"'`$HOME`",
}


def test_values_arrive_as_they_are(bench: Bench) -> None:
    checks = [{"name": "runs", "command": ["printf", "%s\\n", NASTY], "output": [r"^a \"b\" 'c' \$D"]}]
    image = bench.recipe(
        "values",
        'printf %s "$NASTY" >/usr/share/nasty',
        title=NASTY,
        summary=NASTY,
        maintainers=[{"name": NASTY}],
        environment=ENVIRONMENT,
        tests=checks,
    )
    file = bench.folder(image) / "files"
    file.mkdir()
    (file / "$(touch x) 'y' {z}").write_text(NASTY)
    bench.run("build", image)
    config = inspect(f"imagefactory/{image}")["Config"]
    labels = config["Labels"]
    for name in ("title", "description", "authors"):
        assert labels[f"org.opencontainers.image.{name}"] == NASTY
    declared = dict(entry.split("=", 1) for entry in config["Env"])
    plain = {k: v for k, v in ENVIRONMENT.items() if "${HOME}" not in v}
    assert {k: declared.get(k) for k in plain} == plain
    assert not {"AT_HOME", "MIXED"} & set(declared)
    assert within(image, "cat", "/usr/share/nasty") == NASTY
    assert "pwned" not in within(image, "ls", "/")
    assert not list(bench.root.rglob("pwned"))


def test_the_environment_inside_is_the_recipes(bench: Bench) -> None:
    image = bench.recipe("environment", environment=ENVIRONMENT, path=["/opt/x/bin"])
    bench.run("build", image)
    # No name in /etc/passwd, and so no home folder.
    for words, home in (([], "/home/user"), (["--user", "4242:4242"], "/tmp/home-")):
        text = within(image, "env", "--null", options=words)
        found = dict(entry.split("=", 1) for entry in text.split("\0") if entry)
        assert found["HOME"].startswith(home)
        expected = {k: v.replace("${HOME}", found["HOME"]) for k, v in ENVIRONMENT.items()}
        assert {k: found.get(k) for k in expected} == expected
        assert found["PATH"].startswith("/opt/x/bin:")
        assert found["PATH"].count("/opt/x/bin") == 1
    assert within(image, "pwd", options=["--read-only", "--user", "4242", "--workdir", "/"]) == "/\n"
    assert within(image, "false", status=1) == ""


def within(image: str, *words: str, options: list[str] | None = None, status: int = 0) -> str:
    """Run a command in the image, as a researcher would."""
    return docker("run", "--rm", *(options or []), f"imagefactory/{image}", *words, status=status)
