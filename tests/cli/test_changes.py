"""`werk cancel`, `abort`, `requeue` and `delete`."""

from __future__ import annotations

import pytest
from tests import handlers
from tests.cli.running import Shop
from tests.cli.terminal import in_terminal
from tests.cli.working import enqueued, wait_until, working

from pgwerk import EnqueueParams, JobStatus
from pgwerk.cli.bulk import Bulk, outcome

UNKNOWN = "01900000-0000-7000-8000-000000000000"


def statuses(shop: Shop) -> list[str]:
    return [job.status.value for job in shop.client.list_jobs()]


def test_each_id_is_answered(shop: Shop) -> None:
    """Each job that is named is changed if it can be; if one cannot, that is said, and the exit code is 1."""
    queued, later = enqueued(shop, handlers.echo), enqueued(shop, handlers.echo, _delay=1000)
    done = enqueued(shop, handlers.echo, _sync=True)
    ended = shop.run("cancel", "shop:werk", queued.id, later.id, queued.id.replace("-", "").upper())
    assert (0, [f"{queued.id} cancelled", f"{later.id} cancelled"], "") == (
        ended.code,
        ended.stdout.splitlines(),
        ended.stderr,
    )
    ended = shop.run("cancel", "shop:sync_werk", queued.id, done.id, UNKNOWN)
    assert 1 == ended.code
    assert ended.stdout.splitlines() == [
        f"{queued.id} not cancelled: it is aborted",
        f"{done.id} not cancelled: it is complete",
        f"{UNKNOWN} not cancelled: there is no such job",
    ]
    assert ["aborted", "aborted", "complete"] == statuses(shop)


def test_requeue_and_delete_by_id(shop: Shop) -> None:
    """Failed and aborted jobs are requeued; any job is deleted. With `--json` there is an object for each."""
    job, good = enqueued(shop, handlers.fail, _sync=True), enqueued(shop, handlers.echo, _sync=True)
    found = shop.run("requeue", "shop:werk", job.id[:-1], good.id, "--json")
    assert 1 == found.code
    assert [
        {"id": job.id, "done": True, "status": "failed", "reason": None},
        {"id": good.id, "done": False, "status": "complete", "reason": "it succeeded: enqueue it anew"},
    ] == found.json
    assert (0, f"{job.id} deleted\n") == shop.run("delete", "shop:werk", job.id)[:2]
    assert (1, f"{job.id} not deleted: there is no such job\n") == shop.run("delete", "shop:werk", job.id)[:2]
    assert ["complete"] == statuses(shop)


def test_abort(shop: Shop) -> None:
    """A running job is asked to stop, by its id or by a filter; for one that has not started, `cancel` is named."""
    running, other = enqueued(shop, handlers.hang), enqueued(shop, handlers.hang)
    later = enqueued(shop, handlers.echo, _delay=1000)
    with working(shop):
        wait_until(lambda: shop.client.count_jobs()[JobStatus.Active] == 2)
        ended = shop.run("abort", "shop:werk", running.id, later.id)
        assert (
            1,
            [
                f"{running.id} asked to stop",
                f"{later.id} not asked to stop: it has not started: `werk cancel` cancels it",
            ],
        ) == (
            ended.code,
            ended.stdout.splitlines(),
        )
        wait_until(lambda: shop.client.get_job(running.id).status is JobStatus.Aborted)
        assert (0, "1 job asked to stop\n") == shop.run(
            "abort", "shop:werk", "--function", "tests.handlers.hang", "--yes"
        )[:2]
        wait_until(lambda: shop.client.get_job(other.id).status is JobStatus.Aborted)
    ended = shop.run("cancel", "shop:werk", running.id)
    assert (1, f"{running.id} not cancelled: it is aborted\n") == ended[:2]


def test_bulk(shop: Shop) -> None:
    """Filters take the place of ids; only what fits is changed, and how many is said."""
    shop.client.enqueue_many([EnqueueParams(handlers.echo, queue=queue) for queue in ("a", "a", "b")])
    enqueued(shop, handlers.echo, _queue="a", _sync=True)
    assert (0, "2 jobs cancelled\n", "") == shop.run("cancel", "shop:werk", "--queue", "a", "--yes")
    assert ["aborted", "aborted", "queued", "complete"] == statuses(shop)
    assert {"found": 2, "done": 2} == shop.run("requeue", "shop:sync_werk", "--all", "--yes", "--json").json
    assert (0, "", "there are no jobs to requeue\n") == shop.run("requeue", "shop:werk", "--all", "--yes")
    ended = shop.run("delete", "shop:werk", "--status", "queued,complete", "--older-than", "0", "--dry-run")
    assert (0, "") == (ended.code, ended.stdout)
    assert "4 jobs: 3 queued, 1 complete, for instance" == ended.stderr.splitlines()[0]
    assert (0, "3 jobs deleted\n", "") == shop.run("delete", "shop:werk", "--queue", "a", "--yes")
    assert ["queued"] == statuses(shop)


def test_bulk_asks(shop: Shop) -> None:
    """In a terminal the jobs are counted, some are shown, and nothing happens before somebody has said yes."""
    job = enqueued(shop, handlers.echo)
    with in_terminal(shop, "cancel", "shop:werk", "--all") as terminal:
        terminal.wait_for("cancel it? [y/N]")
        assert "1 job: 1 queued, for instance" in terminal.shown
        assert job.id in terminal.shown
        terminal.type("n\n")
        assert 1 == terminal.wait()
        assert terminal.shown.endswith("nothing was changed\n")
    assert ["queued"] == statuses(shop)


def test_what_comes_in_meanwhile_is_left_alone(shop: Shop) -> None:
    """What comes and goes between question and answer: those that were counted are changed, if they still can be."""
    first, second = enqueued(shop, handlers.echo), enqueued(shop, handlers.echo)
    with in_terminal(shop, "cancel", "shop:werk", "--all") as terminal:
        terminal.wait_for("cancel them? [y/N]")
        new = enqueued(shop, handlers.echo)
        shop.client.delete_job(first.id)
        terminal.type("y\n")
        assert 0 == terminal.wait()
        assert "1 job cancelled; 1 had changed meanwhile, and was left alone" in terminal.shown
    assert {second.id: JobStatus.Aborted, new.id: JobStatus.Queued} == shop.client.get_job_statuses()


def test_job_that_is_no_longer_meant(shop: Shop) -> None:
    """A job that is not what it was when it was counted is not deleted."""
    job, other = (enqueued(shop, handlers.fail, _sync=True) for _ in range(2))
    with in_terminal(shop, "delete", "shop:werk", "--status", "failed") as terminal:
        terminal.wait_for("delete them? [y/N]")
        shop.client.requeue_job(job.id)
        terminal.type("y\n")
        assert 0 == terminal.wait()
        assert "1 job deleted; 1 had changed meanwhile, and was left alone" in terminal.shown
    assert {job.id: JobStatus.Queued} == shop.client.get_job_statuses(ids=[job.id, other.id])


def test_nobody_to_ask(shop: Shop) -> None:
    """Without a terminal and without `--yes`, nothing is changed, and one line says why."""
    enqueued(shop, handlers.echo)
    for command, status in (("cancel", "queued"), ("delete", "queued")):
        ended = shop.run(command, "shop:werk", "--all", typed="y\n")
        assert (2, "") == (ended.code, ended.stdout)
        assert (
            f"werk: this would {command} 1 job: 1 {status}: pass --yes, as there is no terminal to ask on\n"
            == ended.stderr
        )
    assert ["queued"] == statuses(shop)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cancel"], "cancel which jobs? Give their ids, or filters, or --all"),
        (["cancel", UNKNOWN, "--queue", "a"], "give ids, or filters, and not both"),
        (["abort", UNKNOWN, "--all"], "give ids, or filters, and not both"),
        (["delete", "--all", "--queue", "a"], "give filters, or --all, and not both"),
        (["delete", UNKNOWN, "--dry-run"], "--dry-run goes with filters"),
        (["requeue", "--status", "queued"], "werk requeue is for jobs that are failed, aborted, not queued"),
        (["abort", "--status", "runing"], "'runing' is no status."),
        (["delete", "--search", ""], "'--search' / '-s': must not be empty"),
        (["delete", "--status", ""], "'' is no status."),
        (["cancel", ""], "'' is not the id of a job"),
        (["cancel", "me"], "'me' is not the id of a job"),
    ],
)
def test_bad_commands(new_shop: Shop, arguments: list[str], message: str) -> None:
    """A command that does not say which jobs, or says it twice, is refused before anything is asked of the database."""
    ended = new_shop.run(arguments[0], "shop:werk", *arguments[1:])
    assert (2, "") == (ended.code, ended.stdout)
    assert message in ended.stderr


def test_big_bulk(shop: Shop) -> None:
    """Thousands of jobs are changed in batches, and take seconds."""
    shop.client.enqueue_many([EnqueueParams(handlers.echo, (number,)) for number in range(5000)])
    assert (0, "5,000 jobs cancelled\n", "") == shop.run("cancel", "shop:werk", "--all", "--yes")
    assert (0, "5,000 jobs deleted\n", "") == shop.run("delete", "shop:werk", "--function", "tests.handlers.echo", "-y")


def test_outcome() -> None:
    """What has come of a bulk change is said in words."""
    bulk = Bulk("cancel", "cancelled", "bulk_cancel_jobs")
    assert "1 job cancelled" == outcome(bulk, 1, 1)
    assert "1,200 jobs cancelled; 2 had changed meanwhile, and were left alone" == outcome(bulk, 1202, 1200)
