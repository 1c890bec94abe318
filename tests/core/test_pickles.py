"""`PickleSerializer`: what it gives back, and that nothing is unpickled that was not signed."""

from __future__ import annotations

import hmac
import os
import pickle
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core import sample_handlers
from tests.core.strategies import VALUES, Color, same

import pgwerk
from pgwerk._core import pickles
from pgwerk._core.envelope import pack, unpack
from pgwerk._core.errors import SerializationError
from pgwerk._core.pickles import PickleSerializer
from pgwerk._core.serializers import JSONSerializer, Serializer, dumps_payload, loads_payload

KEY = "a key that is long enough for this purpose"
OTHER = b"another key that is long enough, too"
SERIALIZER = PickleSerializer(KEY)


class Bomb:
    """Unpickling it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


class Point:
    """An object of the user's own."""

    def __init__(self, x: int, y: int) -> None:
        self.x, self.y = x, y

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and (self.x, self.y) == (other.x, other.y)

    def __hash__(self) -> int:
        return hash((self.x, self.y))


class Gone:
    """Something that a later release of the application does not have any more."""


def test_is_a_serializer() -> None:
    """It has what a serializer needs, and gives bytes."""
    assert isinstance(SERIALIZER, Serializer)
    assert bytes is type(SERIALIZER.dumps(None))
    assert pgwerk.PickleSerializer is PickleSerializer


@settings(deadline=None)
@given(VALUES)
def test_values_come_back_as_they_were(value: Any) -> None:
    """Every value that JSON can carry comes back equal and of the same type, out of the column's text."""
    assert same(value, SERIALIZER.loads(unpack(pack(SERIALIZER.dumps(value)))))


def test_objects_come_back() -> None:
    """So do objects of the user's own, enums, functions, classes, and parts that are one object."""
    shared = [Point(1, 2)]
    value = {
        "shared": (shared, shared),
        Point(3, 4): Color.RED,
        "types": (Point, sample_handlers.plain, Exception("x")),
    }
    back = SERIALIZER.loads(SERIALIZER.dumps(value))
    assert [Point(1, 2)] == back["shared"][0]
    assert back["shared"][0] is back["shared"][1]
    assert Color.RED is back[Point(3, 4)]
    assert (Point, sample_handlers.plain) == back["types"][:2]
    assert ("x",) == back["types"][2].args


def test_arguments_come_back() -> None:
    """The arguments of a call come back, too."""
    data = dumps_payload(SERIALIZER, (Point(1, 2),), {"when": datetime(2026, 1, 1, tzinfo=UTC)})
    assert ([Point(1, 2)], {"when": datetime(2026, 1, 1, tzinfo=UTC)}) == loads_payload(SERIALIZER, data)


def test_format() -> None:
    """A byte for the format, a signature of 32 bytes, and a pickle of protocol 5."""
    data = SERIALIZER.dumps(Point(1, 2))
    assert b"\x01" == data[:1]
    assert b"\x80\x05" == data[33:35]
    assert Point(1, 2) == pickle.loads(data[33:])  # noqa: S301 - just made


STORED = (
    "017ba234310b9990d97cc2a51db6fd30448fd0bc76e6c1536f658832d4a5e9a49a80059525000000000000007d94288c0461726773945d944b"
    "01618c066b7761726773947d948c0178948c01799473752e"
)


def test_what_is_stored_stays_readable() -> None:
    """Values that the first release wrote are read by every later one."""
    assert {"args": [1], "kwargs": {"x": "y"}} == SERIALIZER.loads(bytes.fromhex(STORED))


def tampered(data: bytes, index: int) -> bytes:
    return data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :]


@pytest.fixture
def never_unpickles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails the test when something is unpickled."""

    def refuse(*_: object) -> None:
        pytest.fail("it was unpickled")

    monkeypatch.setattr(pickles, "_Unpickler", refuse)
    monkeypatch.setattr(pickle, "loads", refuse)


@pytest.mark.usefixtures("never_unpickles")
def test_each_changed_byte_is_noticed() -> None:
    """Whatever byte is changed, nothing is unpickled."""
    data = SERIALIZER.dumps({"x": 1})
    for index in range(len(data)):
        with pytest.raises(SerializationError):
            SERIALIZER.loads(tampered(data, index))


@pytest.mark.usefixtures("never_unpickles")
def test_each_cut_is_noticed() -> None:
    """Wherever it is cut off, or whatever is put behind it, nothing is unpickled."""
    data = SERIALIZER.dumps({"x": 1})
    for size in range(len(data)):
        with pytest.raises(SerializationError):
            SERIALIZER.loads(data[:size])
    with pytest.raises(SerializationError):
        SERIALIZER.loads(data + b"\0")


@pytest.mark.usefixtures("never_unpickles")
@settings(max_examples=500, deadline=None)
@given(st.one_of(st.binary(), st.builds(lambda rest: b"\x01" + rest, st.binary(min_size=30, max_size=100)), st.text()))
def test_nonsense_is_refused(data: str | bytes) -> None:
    """No bytes and no text that nobody signed are unpickled."""
    with pytest.raises(SerializationError):
        SERIALIZER.loads(data)


def signed(key: bytes, data: bytes) -> bytes:
    """As somebody would sign it who knows the form of a value, but not that the key is derived."""
    return b"\x01" + hmac.digest(key, b"\x01" + data, "sha256") + data


@pytest.mark.parametrize(
    ("forge", "said"),
    [
        (lambda bomb: bomb, "begin with b'\\x80'.*another serializer, or by a newer release"),
        (lambda bomb: b"\x02" + SERIALIZER.dumps(None)[1:33] + bomb, "begin with b'\\x02'"),
        (lambda bomb: b"\x01" + bytes(32) + bomb, "does not fit the key of this client.*another key, or changed"),
        (lambda bomb: SERIALIZER.dumps(None)[:33] + bomb, "it was not unpickled"),
        (lambda bomb: signed(KEY.encode(), bomb), "does not fit the key"),
        (lambda bomb: PickleSerializer(OTHER).dumps(None)[:1] + signed(OTHER, bomb)[1:], "does not fit the key"),
        (lambda _: "[1, 2]", "cannot read JSON: the value was written by another serializer"),
        (lambda _: b"", "begin with b''"),
        (lambda _: SERIALIZER.dumps(None)[:20], "was cut off: only 20 bytes are left"),
    ],
)
def test_what_was_not_signed_is_not_executed(forge: Any, said: str, tmp_path: Path) -> None:
    """A pickle that would run code is not unpickled without a signature, and the error says what is wrong."""
    proof = tmp_path / "executed"
    with pytest.raises(SerializationError, match=said.replace("\\x", r"\\x")):
        SERIALIZER.loads(forge(pickle.dumps(Bomb(proof))))
    assert not proof.exists()


def test_a_bomb_goes_off_when_it_is_signed(tmp_path: Path) -> None:
    """The proof above would show: whoever has the key may run code."""
    SERIALIZER.loads(SERIALIZER.dumps(Bomb(tmp_path / "executed")))
    assert (tmp_path / "executed").exists()


def test_another_key_does_not_read() -> None:
    """What is signed with one key cannot be read with another."""
    for reader in (PickleSerializer(OTHER), PickleSerializer(OTHER, old_keys=[KEY + "x", KEY[:-1]])):
        with pytest.raises(SerializationError, match="does not fit"):
            reader.loads(SERIALIZER.dumps(1))


def test_keys_are_rotated() -> None:
    """Values signed with an old key can still be read, and new ones are signed with the new key only."""
    rotated = PickleSerializer(key=OTHER, old_keys=[b"x" * 32, KEY])
    assert 1 == rotated.loads(SERIALIZER.dumps(1))
    assert 2 == PickleSerializer(OTHER).loads(rotated.dumps(2))
    with pytest.raises(SerializationError):
        SERIALIZER.loads(rotated.dumps(2))


def test_a_text_is_a_key_in_utf8() -> None:
    """A key may be given as text or as its bytes."""
    assert 1 == PickleSerializer(KEY.encode()).loads(SERIALIZER.dumps(1))
    assert 1 == PickleSerializer("ü" * 16).loads(PickleSerializer(("ü" * 16).encode()).dumps(1))


@pytest.mark.parametrize(
    ("key", "error", "said"),
    [
        ("", ValueError, "key of PickleSerializer must have at least 32 bytes, and this one is empty; make one with"),
        (b"", ValueError, "this one is empty"),
        ("tr0ub4dor&3", ValueError, "must have at least 32 bytes, not 11; make one with: python -c"),
        (b"tr0ub4dor&3" * 2, ValueError, "not 22"),
        (None, TypeError, "must be bytes or str, not NoneType"),
        (bytearray(b"tr0ub4dor&3" * 4), TypeError, "must be bytes or str, not bytearray"),
        (["tr0ub4dor&3" * 4], TypeError, "must be bytes or str, not list"),
    ],
)
def test_a_bad_key_is_refused_and_not_shown(key: Any, error: type[Exception], said: str) -> None:
    """A key that is no key is refused with what to do, and no part of it is in the message."""
    with pytest.raises(error, match=said) as caught:
        PickleSerializer(key)
    with pytest.raises(error, match=r"old_keys\[1\] of PickleSerializer") as caught_old:
        PickleSerializer(KEY, old_keys=[OTHER, key])
    assert "tr0ub4dor" not in f"{caught.value}{caught_old.value}"


@pytest.mark.parametrize("old_keys", [KEY, OTHER, None])
def test_a_single_old_key_is_refused(old_keys: Any) -> None:
    """`old_keys` is a list; a key by itself would be taken apart."""
    with pytest.raises(TypeError, match="old_keys must be a list of keys, not") as caught:
        PickleSerializer(KEY, old_keys=old_keys)
    assert "long enough" not in str(caught.value)


def test_the_way_to_make_a_key_works() -> None:
    """The command that the error names prints a key that is taken."""
    with pytest.raises(ValueError, match="make one with") as caught:
        PickleSerializer("")
    source = str(caught.value).split("python -c '")[1].rstrip("'")
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=True)
    PickleSerializer(done.stdout.strip())


def test_the_key_is_not_shown() -> None:
    """Neither `repr` nor `str` shows a key, nor does an error about a value."""
    rotated = PickleSerializer(KEY, old_keys=[OTHER])
    with pytest.raises(SerializationError) as caught:
        rotated.loads(b"\x01" + bytes(40))
    shown = f"{rotated!r} {rotated} {caught.value}"
    assert "<PickleSerializer with 2 secret keys>" == repr(rotated)
    assert "<PickleSerializer with 1 secret key>" == repr(SERIALIZER)
    for key in (KEY, OTHER.decode()):
        assert key not in shown
    assert all(KEY.encode() not in key for key in rotated._keys)


def test_a_signature_of_the_key_for_something_else_is_no_use() -> None:
    """A key that signs other things, too, does not sign pickles by that."""
    data = pickle.dumps(1, pickles.PROTOCOL)
    with pytest.raises(SerializationError):
        SERIALIZER.loads(signed(KEY.encode(), data))


class Loud:
    def __reduce__(self) -> Any:
        raise ZeroDivisionError("on purpose")


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (threading.Lock(), "a value of type lock .*: TypeError: cannot pickle '_thread.lock' object"),
        (lambda: None, "a value of type function: .*<lambda>"),
        (sys, "a value of type module: TypeError: cannot pickle 'module' object"),
        (Loud(), "a value of type Loud .*: ZeroDivisionError: on purpose"),
        (nested(100_000), "a value of type list: RecursionError"),
        ((each for each in "abc"), "a value of type generator: TypeError"),
    ],
)
def test_what_cannot_be_pickled_is_refused(value: Any, said: str) -> None:
    """What cannot be pickled is refused with its type and the reason."""
    with pytest.raises(SerializationError, match=said):
        SERIALIZER.dumps(value)


def test_an_argument_that_cannot_be_pickled_is_named() -> None:
    """The error about an argument names the argument and the function."""
    with pytest.raises(SerializationError, match=r"argument 'lock' of a\.b\(\): cannot pickle .*_thread\.lock"):
        dumps_payload(SERIALIZER, (1,), {"lock": threading.Lock()}, function="a.b")


def test_what_is_gone_cannot_be_unpickled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class or a module that is not there any more gives an error that names it."""
    of_class, of_module = SERIALIZER.dumps(Gone()), SERIALIZER.dumps(sample_handlers.Base())
    monkeypatch.delattr(sys.modules[__name__], "Gone")
    with pytest.raises(SerializationError, match=r"cannot unpickle the stored value: AttributeError: .*Gone"):
        SERIALIZER.loads(of_class)
    monkeypatch.setitem(sys.modules, sample_handlers.__name__, None)
    with pytest.raises(SerializationError, match=r"ModuleNotFoundError: .*sample_handlers"):
        SERIALIZER.loads(of_module)


class Leaving:
    def __setstate__(self, state: object) -> None:
        raise SystemExit(3)


def test_unpickling_does_not_end_the_process() -> None:
    """An object that wants to leave while it is unpickled gives an error, and the process lives on."""
    leaving = Leaving()
    leaving.__dict__["x"] = 1
    with pytest.raises(SerializationError, match="SystemExit: 3"):
        SERIALIZER.loads(SERIALIZER.dumps(leaving))


def test_json_and_pickles_do_not_read_each_other() -> None:
    """The one serializer refuses what the other wrote."""
    with pytest.raises(SerializationError, match="another serializer"):
        JSONSerializer().loads(SERIALIZER.dumps(1))
    with pytest.raises(SerializationError, match="another serializer"):
        SERIALIZER.loads(JSONSerializer().dumps(1))


def test_survives_being_pickled() -> None:
    """It can be sent to the processes of a pool, and reads there what it reads here."""
    sent = pickle.loads(pickle.dumps(SERIALIZER))  # noqa: S301 - just made
    assert 1 == sent.loads(SERIALIZER.dumps(1))


SCRIPT = """
import sys
from pgwerk import PickleSerializer, SerializationError

serializer = PickleSerializer("k" * 32)

class Point:
    x = 1
    class Inner:
        y = 2

def make():
    return Point()

if __name__ == "__main__":
    try:
        data = serializer.dumps([Point(), Point.Inner(), make, "__main__"])
    except SerializationError as error:
        print(error)
        sys.exit()
    back = serializer.loads(data)
    print(type(back[0]) is Point, type(back[1]) is Point.Inner, back[2] is make, back[3])
    assert "drawing" not in sys.modules
    print(data.hex())
    sys.stdout.flush()
    # What another process, in which this is a module, sends back.
    back = serializer.loads(bytes.fromhex(sys.stdin.readline()))
    print(type(back[0]) is Point, "drawing" in sys.modules)
"""


def start(*command: str, cwd: Path) -> subprocess.Popen[str]:
    source = str(Path(pgwerk.__file__).parent.parent)
    return subprocess.Popen(
        [sys.executable, "-W", "error", *command],
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": source, "PYTHONDONTWRITEBYTECODE": "1"},
    )


READ_AND_SEND_BACK = """
import sys
from drawing import Point, make, serializer
back = serializer.loads(bytes.fromhex(sys.stdin.readline()))
assert (type(back[0]), type(back[1]), back[2]) == (Point, Point.Inner, make)
print(serializer.dumps(back).hex())
"""


def test_what_a_script_defines_goes_by_its_importable_name(tmp_path: Path) -> None:
    """Objects of classes in the script that is run are read by workers that import it, and come back as its own."""
    (tmp_path / "drawing.py").write_text(SCRIPT)
    with start("drawing.py", cwd=tmp_path) as script, start("-c", READ_AND_SEND_BACK, cwd=tmp_path) as worker:
        assert script.stdout is not None
        first = script.stdout.readline()
        sent_back, _ = worker.communicate(script.stdout.readline(), timeout=60)
        last, _ = script.communicate(sent_back, timeout=60)
    assert ("True True True __main__\n", "True False\n") == (first, last)


def test_what_no_worker_can_import_is_refused(tmp_path: Path) -> None:
    """Objects of classes that were defined at a prompt, or in a file that is no module, are refused."""
    (tmp_path / "not-a-name.py").write_text(SCRIPT)
    with start("not-a-name.py", cwd=tmp_path) as script:
        said, _ = script.communicate(timeout=60)
    assert "cannot pickle a value of type list" in said
    assert "Point is defined in the program that is being run (__main__), which a worker cannot import" in said
