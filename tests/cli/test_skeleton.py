"""What all commands have in common: how they find the application, and how they end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tests.cli.running import PATIENCE_SECS, Shop, command_line, environment

from pgwerk.cli.entry import main
from pgwerk.cli.lazy import Announced
from pgwerk.cli.main import COMMANDS

SILENT_SHOP = """
from pgwerk import SyncWerk, Werk
werk = Werk({dsn!r})
sync_werk = SyncWerk({dsn!r})
"""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A server that takes connections, and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(PATIENCE_SECS)
        yield listener


def test_app_of_either_flavour(shop: Shop) -> None:
    """APP may be a Werk or a SyncWerk."""
    for name in ("shop:werk", "shop:sync_werk"):
        assert 0 == shop.run("migrate", name, "--check").code


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        ([], {"PGWERK_APP": "shop:werk"}),
        ([], {"PGWERK_APP": "shop:werk", "PGWERK_DSN": "dbname=nowhere"}),
        (["shop:werk"], {"PGWERK_APP": "nowhere:werk"}),
        ([], {"PGWERK_DSN": "{dsn}", "PGWERK_SCHEMA": "{schema}"}),
        (["--dsn", "{dsn}"], {"PGWERK_APP": "nowhere:werk", "PGWERK_SCHEMA": "{schema}"}),
        (["--dsn", "{dsn}", "--schema", "{schema}"], {"PGWERK_SCHEMA": "nowhere"}),
        (["--dsn", "{dsn}", "--schema", "{schema}", "--prefix", "_pgwerk"], {"PGWERK_PREFIX": "nowhere"}),
    ],
)
def test_where_the_application_is_said(shop: Shop, arguments: list[str], variables: dict[str, str]) -> None:
    """The command line comes first, then the environment; there, APP comes before a connection string."""
    names = {"dsn": shop.dsn, "schema": shop.schema}
    env = {name: value.format(**names) for name, value in variables.items()}
    ended = shop.run("migrate", "--check", *(argument.format(**names) for argument in arguments), env=env)
    assert (0, "") == (ended.code, ended.stderr)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["shop:wrok"], "the module shop has no 'wrok': its clients are careful, sync_werk, werk"),
        (["shop:no_client"], "shop:no_client must be a Werk or a SyncWerk, and is a int"),
        (["nowhere.at:all"], "there is no module 'nowhere' here: werk looks in {folder} first"),
        (["broken:werk"], "broken cannot be imported: ValueError: no luck (--debug shows where)"),
        (
            ["wrong:werk"],
            "wrong cannot be imported: SyntaxError: invalid syntax (wrong.py, line 1) (--debug shows where)",
        ),
        (["missing:werk"], "missing cannot be imported: No module named 'nowhere' (--debug shows where)"),
        (["shop:werk", "--dsn", ""], "give either the application, shop:werk, or --dsn, and not both"),
        (["shop:werk", "--schema", "a"], "--schema and --prefix go with --dsn: shop:werk has its own"),
        (["shop.werk"], "'shop.werk' is no application: APP is module:attribute"),
        (
            ["--dsn", "nonsense"],
            "dsn is not a valid connection string; it looks like postgresql://user@host:5432/database",
        ),
        ([], "which application? Name it as module:attribute, or pass --dsn, or set PGWERK_APP or PGWERK_DSN"),
    ],
)
def test_wrong_app(new_shop: Shop, arguments: list[str], message: str) -> None:
    """An application that cannot be loaded is one line that says what is wrong with it; the exit code is 2."""
    new_shop.write("broken.py", "raise ValueError('no luck')")
    new_shop.write("wrong.py", "= 1")
    new_shop.write("missing.py", "import nowhere")
    ended = new_shop.run("migrate", *arguments)
    assert (2, "", f"werk: {message.format(folder=new_shop.folder)}\n") == ended


def test_debug(new_shop: Shop) -> None:
    """--debug shows the traceback, and then the line."""
    new_shop.write("broken.py", "raise ValueError('no luck')")
    ended = new_shop.run("migrate", "broken:werk", "--debug")
    assert 2 == ended.code
    assert 'broken.py", line 1' in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("werk: broken cannot be imported")


def test_current_directory_can_be_imported_from(shop: Shop) -> None:
    """That holds for a script as well, whose own folder comes first, and for handlers of a --dsn."""
    installed = {"PYTHONSAFEPATH": "1"}
    assert 0 == shop.run("migrate", "shop:werk", "--check", env=installed).code
    job_id = shop.enqueue("add")
    ended = shop.run("worker", "--dsn", shop.dsn, "--schema", shop.schema, "--burst", env=installed)
    assert 0 == ended.code
    assert 3 == shop.client.get_job(job_id).result


@pytest.mark.parametrize(("missing", "command"), [("click", ["--help"]), ("rich", ["jobs"])])
def test_packages_of_the_extra_are_missing(shop: Shop, missing: str, command: list[str]) -> None:
    """Without the packages of the extra, a line names the one that is missing and the command that installs it."""
    arguments = [*command, *(["--dsn", shop.dsn, "--schema", shop.schema] if missing == "rich" else [])]
    program = (
        f"import sys; sys.modules[{missing!r}] = None; from pgwerk.cli.entry import main; sys.exit(main({arguments!r}))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment(), check=False
    )
    said = f"werk: the package {missing} is not installed: pip install click rich\n"
    assert (2, "", said) == (ended.returncode, ended.stdout, ended.stderr)


@pytest.mark.parametrize("command", [command.name for command in COMMANDS])
def test_help(command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command says what it does, with an example, in 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    assert 0 == main([command, "--help"])
    said = capsys.readouterr().out
    assert f"Example: werk {command}" in said
    assert 80 >= max(map(len, said.splitlines()))
    assert main(["--help"]) == 0
    assert command in capsys.readouterr().out


@pytest.mark.parametrize("announced", COMMANDS, ids=lambda announced: str(announced.name))
def test_list_of_commands(announced: Announced) -> None:
    """What the list says of a command, without having imported it, is what the command says of itself."""
    command = announced.load()
    assert command.name == announced.name
    for width in (45, 1000):
        assert command.get_short_help_str(width) == announced.get_short_help_str(width)


def test_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    """A command that does not exist is a usage error."""
    assert 2 == main(["wrok"])
    assert "No such command 'wrok'" in capsys.readouterr().err


def test_reader_that_has_seen_enough(new_shop: Shop) -> None:
    """`werk ... | head` ends without a complaint, whatever of its output is read."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run(
            command_line("migrate", "shop:werk", "--sql"),
            cwd=new_shop.folder,
            env=environment({"PYTHONUNBUFFERED": ""}),
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
            check=False,
        )
    finally:
        os.close(writing)
    assert (0, "") == (ended.returncode, ended.stderr)


@pytest.mark.posix
@pytest.mark.parametrize("app", ["silent:werk", "silent:sync_werk"])
def test_ctrl_c(new_shop: Shop, listener: socket.socket, app: str) -> None:
    """Ctrl-C ends a command that waits for the database with the exit code 130, and without a traceback."""
    port = listener.getsockname()[1]
    dsn = f"host=127.0.0.1 port={port} sslmode=disable gssencmode=disable user=me dbname=shop"
    new_shop.write("silent.py", SILENT_SHOP.format(dsn=dsn))
    program = new_shop.start("migrate", app)
    connection, _ = listener.accept()
    with connection:
        assert connection.recv(1000)
        program.send(signal.SIGINT)
        ended = program.wait(10)
    assert (130, "") == (ended.code, ended.stderr.strip())


@pytest.mark.posix
def test_ctrl_c_while_the_application_is_loaded(new_shop: Shop) -> None:
    """Ctrl-C ends a command in the middle of an import in the same way."""
    new_shop.write("slow.py", "print('loaded', flush=True)\nimport time\ntime.sleep(60)")
    program = new_shop.start("migrate", "slow:werk")
    program.wait_for_line("loaded", stream="stdout")
    program.send(signal.SIGINT)
    ended = program.wait(10)
    assert (130, "") == (ended.code, ended.stderr.strip())


HOOKED = '''"""An application that cannot be started."""

from shop import DSN, werk
from pgwerk import SyncWerk, Werk

clients = [Werk(DSN, schema=werk.config.schema), SyncWerk(DSN, schema=werk.config.schema)]
asyncio, blocking = clients


def fail():
    raise ValueError("no cache")


for client in clients:
    client.on_startup(fail)
'''


@pytest.mark.parametrize("app", ["hooked:asyncio", "hooked:blocking"])
@pytest.mark.parametrize("command", [["jobs"], ["worker", "--burst"]])
def test_hook_that_fails(shop: Shop, app: str, command: list[str]) -> None:
    """A start-up hook that fails is not taken for a wrong command line, and --debug shows where it was."""
    shop.write("hooked.py", HOOKED)
    ended = shop.run(command[0], app, *command[1:])
    assert 1 == ended.code
    assert ended.stderr.endswith(
        "werk: the application cannot be started: ValueError: no cache (--debug shows where)\n"
    )
    assert "in fail" in shop.run(command[0], app, "--debug", *command[1:]).stderr
