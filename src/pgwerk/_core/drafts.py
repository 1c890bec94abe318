"""Jobs made in one go.

A frozen class sets its fields one by one through `object.__setattr__`: for all of a `Job`, that took 5 us, more than
the rest of what the client does about one of many jobs. A draft has the same memory and may be written to; when it is
complete, it becomes a `Job`, in a fifth of the time.
"""

from __future__ import annotations

from typing import Any

from attrs import fields, make_class

from pgwerk._core.models import Job, WeaklyReferable

JOB_FIELDS = tuple(attribute.name for attribute in fields(Job))
"""The fields of a job, in their order."""

_Draft: Any = make_class(
    "_Draft", JOB_FIELDS, bases=(WeaklyReferable,), slots=True, weakref_slot=False, eq=False, repr=False
)


def make_job(*values: Any) -> Job:
    """A job.

    Args:
        values: Those of all its fields, in their order.
    """
    draft = _Draft(*values)
    draft.__class__ = Job
    job: Job = draft
    return job
