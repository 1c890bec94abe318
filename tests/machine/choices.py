"""What the machine chooses from: options of jobs, and what can be done to those that are there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import frozen
from hypothesis import strategies as st
from tests import handlers
from tests.machine.values import OVER, RUNNING, UNSTARTED

from pgwerk import Repeat, Retry

if TYPE_CHECKING:
    from tests.machine.hands import Hands

Options: TypeAlias = dict[str, Any]
Parents: TypeAlias = list[tuple[Any, bool]]
"""Jobs to depend on, by their names or, in a call that enqueues many, by their places; and whether they may fail."""
Draft: TypeAlias = tuple[Options, Parents]
Deed: TypeAlias = tuple[Any, ...]
"""What is done, and to what."""
Step: TypeAlias = tuple[str, dict[str, Any]]
"""A method of the machine, and its arguments."""

QUEUES = ("default", "other")
WORKERS = {"w1": ("default",), "w2": ("default", "other"), "w3": ("other", "default")}
"""The queues of each worker."""
FUNCTIONS = {"echo": handlers.echo, "plain_echo": handlers.plain_echo}

PASSED = (1001, 2001, 90001)
"""Seconds that pass at a time. No number of these in a row comes close to any of the delays, which are round."""

_FEATURES: list[tuple[str, Any]] = [
    ("queue", "other"),
    ("priority", 1),
    ("priority", -1),
    ("delay", 1000),
    ("at", -500),
    ("at", 1500),
    ("retry", 2),
    ("retry", Retry(max=2, intervals=1000)),
    ("retry", Retry(max=3, intervals=[0, 1000])),
    ("ttl", 1000),
    ("ttl", 2000),
    ("key", "k"),
    ("key", "l"),
    ("group", "g"),
    ("group", "h"),
    ("repeat", Repeat(times=1)),
    ("repeat", Repeat(times=2, interval=1000)),
    ("repeat", Repeat(times=3, intervals=[0, 1000])),
    ("failure_mode", "delete"),
    ("result_ttl", 0),
    ("result_ttl", 1000),
    ("failure_ttl", 0),
    ("failure_ttl", 1000),
    ("heartbeat", 1000),
    ("timeout", 5),
    ("meta", {"traced": True}),
]
"""Options, and for `at` the seconds from now."""

_MANAGED = {
    "cancel": UNSTARTED,
    "requeue": ("failed", "aborted"),
    "abort": ("active",),
    "delete": (*OVER, "waiting"),
    "touch": RUNNING,
    "wait for": (*UNSTARTED, *RUNNING),
}
"""What can be done to a job, and with which status it comes to something."""
_RARE = ("touch", "wait for")


_WORKER = st.sampled_from(sorted(WORKERS))
_OUTCOME = st.sampled_from(("success", "failure", "hopeless", "given back"))
_BULK_DEED: st.SearchStrategy[Deed] = st.one_of(
    st.tuples(st.just("requeue"), st.sampled_from((None, *QUEUES)), st.sampled_from((None, *sorted(FUNCTIONS)))),
    st.tuples(st.just("cancel"), st.sampled_from((None, *QUEUES))),
    st.tuples(
        st.just("purge"),
        st.lists(st.sampled_from(OVER), min_size=1, max_size=2, unique=True),
        st.sampled_from((0, 1500)),
    ),
)
"""What a client does to many jobs."""


# Jobs that are made


def _which(feature: tuple[str, Any]) -> str:
    name, _ = feature
    return "delay" if name == "at" else name


def options() -> st.SearchStrategy[Options]:
    """Some options of a job."""
    return st.lists(st.sampled_from(_FEATURES), max_size=5, unique_by=_which).map(dict)


def batches(size: int = 4) -> st.SearchStrategy[list[Draft]]:
    """Some jobs, which may depend on those before them in the batch, and on those that are there."""

    def with_parents(chosen: Sequence[Options]) -> st.SearchStrategy[Any]:
        return st.tuples(*(st.tuples(st.just(each), _parents(place)) for place, each in enumerate(chosen)))

    return st.lists(options(), min_size=1, max_size=size).flatmap(with_parents)


def _parents(place: int) -> st.SearchStrategy[Parents]:
    def choose(machine: Hands) -> st.SearchStrategy[Parents]:
        possible: list[st.SearchStrategy[Any]] = []
        if machine.model.names:
            possible.append(_names(machine, "enqueue", "queued", "active", "waiting", "failed"))
        if place:
            possible.append(st.integers(0, place - 1))
        if not possible:
            return st.just([])
        links = st.tuples(st.one_of(possible), st.booleans())
        return st.lists(links, max_size=2, unique_by=lambda link: str(link[0]))

    return _chosen(choose)


# Steps


def steps() -> st.SearchStrategy[Step]:
    """What is done next, of what is possible now; what makes things happen comes more often than the rest."""

    def choose(machine: Hands) -> st.SearchStrategy[Any]:
        kinds = [(name, kind) for name, kind in _KINDS.items() if kind.is_possible(machine)]
        often = [name for name, kind in kinds for _ in range(kind.weight)]
        return st.sampled_from(often).flatmap(
            lambda name: st.tuples(st.just(name), st.fixed_dictionaries(_KINDS[name].arguments(machine)))
        )

    return _chosen(choose)


@frozen
class _Kind:
    """A kind of step.

    Attributes:
        weight: How often it comes up, compared to others.
        arguments: What its arguments are chosen from.
        is_possible: Whether it is possible.
    """

    weight: int
    arguments: Callable[[Hands], dict[str, st.SearchStrategy[Any]]]
    is_possible: Callable[[Hands], bool] = lambda _: True


def _is_anything_there(machine: Hands) -> bool:
    return bool(machine.model.jobs)


def _are_there_some(machine: Hands) -> bool:
    return len(machine.model.jobs) >= 4


def _is_anything_queued(machine: Hands) -> bool:
    return bool(machine.model.named("queued"))


def _ends(machine: Hands) -> st.SearchStrategy[list[tuple[str, str]]]:
    """Attempts that are under way, and how each of them ends."""
    each = st.tuples(st.sampled_from(sorted(machine.attempts)), _OUTCOME)
    return st.lists(each, min_size=1, max_size=3, unique_by=lambda end: end[0])


def _events(machine: Hands) -> st.SearchStrategy[Deed | None]:
    """What happens after so many statements of a worker that sees to what follows, if anything does."""
    left = st.integers(0, 4)
    possible: list[tuple[int, st.SearchStrategy[Any]]] = [(3, st.none()), (2, st.tuples(left, st.just("death")))]
    for deed, statuses in (("cancel", ("waiting",)), ("requeue", ("failed", "aborted"))):
        if fitting := machine.model.named(*statuses):
            possible.append((1, st.tuples(left, st.just(deed), st.sampled_from(fitting))))
    return _weighted(possible)


def _deeds(machine: Hands) -> st.SearchStrategy[Deed]:
    """Something that a client does to one job, and the job."""
    fitting = [deed for deed, statuses in _MANAGED.items() if _fitting(machine, deed, statuses)]
    often = [deed for deed in fitting for _ in range(1 if deed in _RARE else 3)]
    # A touch can never do any harm.
    return st.sampled_from(often or ["touch"]).flatmap(
        lambda deed: st.tuples(st.just(deed), _names(machine, deed, *_MANAGED[deed]))
    )


def _upkeep(machine: Hands) -> st.SearchStrategy[Deed]:
    """What a worker does now and then, or what happens to it."""
    model = machine.model
    running = {job.worker_id for job in model.jobs.values() if job.is_running}
    lost = [worker_id for worker_id in running if worker_id not in model.workers or model.workers[worker_id].is_lost]
    busy = [name for name in WORKERS if machine.worker_ids[name] in running]
    possible: list[tuple[int, st.SearchStrategy[Any]]] = [(3, st.just(("sweep",)))]
    if model.workers:
        possible.append((1, st.tuples(st.just("beat"), _WORKER)))
    if busy:
        # Whether its jobs are rescued before it gives a sign of life again.
        is_noticed = st.booleans()
        possible.append((4, st.tuples(st.sampled_from(("lapse", "forget")), st.sampled_from(busy), is_noticed)))
    if lost:
        possible.append((3, st.just(("rescue",))))
    if model.named("scheduled"):
        possible.append((1, st.just(("promote",))))
    return _weighted(possible)


def _jobs(machine: Hands) -> st.SearchStrategy[str]:
    """The name of a job, which may be gone."""
    return _names(machine, "read", *UNSTARTED, *RUNNING, *OVER)


def _names(machine: Hands, deed: str, *statuses: str) -> st.SearchStrategy[str]:
    """The names of jobs to which something can be done, most often of those with a status like these."""
    fitting = _fitting(machine, deed, statuses)
    names = [name for name in machine.model.names if _is_possible(machine, deed, name)]
    return st.one_of(*[st.sampled_from(each) for each in (fitting, fitting, names) if each])


def _fitting(machine: Hands, deed: str, statuses: Sequence[str]) -> list[str]:
    return [name for name in machine.model.named(*statuses) if _is_possible(machine, deed, name)]


def _is_possible(machine: Hands, deed: str, name: str) -> bool:
    """Whether it does not have to wait until the open transaction ends."""
    return deed != "delete" or machine.model.names[name] not in machine.model.pinned


def _weighted(choices: Sequence[tuple[int, st.SearchStrategy[Any]]]) -> st.SearchStrategy[Any]:
    """One of several strategies, some of which come up more often than others."""
    places = [place for place, (weight, _) in enumerate(choices) for _ in range(weight)]
    return st.sampled_from(places).flatmap(lambda place: choices[place][1])


def _chosen(choose: Callable[[Hands], st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """What depends on what is there."""
    machine: st.SearchStrategy[Any] = st.runner()
    return machine.flatmap(choose)


_KINDS = {
    "run": _Kind(
        4,
        lambda machine: {
            "worker": _WORKER,
            "outcomes": st.lists(_OUTCOME, min_size=1, max_size=3),
            "event": _events(machine),
        },
        _is_anything_queued,
    ),
    "end": _Kind(
        5,
        lambda machine: {"ends": _ends(machine), "event": _events(machine)},
        lambda machine: bool(machine.attempts),
    ),
    "start": _Kind(3, lambda _: {"worker": _WORKER, "limit": st.integers(1, 4)}, _is_anything_queued),
    "manage": _Kind(6, lambda machine: {"deed": _deeds(machine)}, _is_anything_there),
    "keep_up": _Kind(5, lambda machine: {"deed": _upkeep(machine)}, _is_anything_there),
    "enqueue": _Kind(
        3,
        lambda _: {
            "function": st.sampled_from(sorted(FUNCTIONS)),
            "batch": batches(),
            "how": st.sampled_from(("alone", "together", "together", "in a transaction")),
        },
    ),
    "end_transaction": _Kind(
        2,
        lambda _: {"how": st.sampled_from(("seen to", "seen to by nobody", "rolled back"))},
        lambda machine: machine.open is not None,
    ),
    "manage_and_die": _Kind(
        2,
        lambda machine: {
            "deed": _deeds(machine) | st.sampled_from((("sweep", ""), ("purge", ""))),
            "left": st.integers(1, 10),
        },
        _is_anything_there,
    ),
    "manage_many": _Kind(1, lambda _: {"deed": _BULK_DEED}, _are_there_some),
    "time_passes": _Kind(
        2, lambda machine: {"job": st.none() | _jobs(machine), "secs": st.sampled_from(PASSED)}, _is_anything_there
    ),
    "settle_again": _Kind(
        1, lambda machine: {"attempt": st.sampled_from(sorted(machine.spent))}, lambda machine: bool(machine.spent)
    ),
    "read": _Kind(
        1,
        lambda machine: {
            "job": _jobs(machine),
            "queue": st.sampled_from((None, *QUEUES)),
            "status": st.sampled_from((None, *UNSTARTED, *RUNNING, *OVER)),
            "newest_first": st.booleans(),
        },
    ),
}
