"""Webhooks: others are told what happened, in its order, until they have heard it.

The record of activity is the queue: each webhook keeps the number of the last entry that is over. So nothing
is lost by a kill, at most told twice; and the queue is as long as the record. A webhook that fails is tried
again after 5, 10, 20 … seconds, at most an hour; after `PATIENCE` the entry is given up.

Requests are signed as Standard Webhooks say: `webhook-signature: v1,` and the base64 of the HMAC-SHA256 of
`ID.TIMESTAMP.BODY`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple

from ...grammars.wire.links import origin
from ...stores.activity import ActivityEntry
from ...stores.marks import Marks
from ...words.errors import NacreError
from ...words.value import Value
from .jobs import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ...stores.activity import Activity
    from ...stores.catalog import Catalog
    from ...words.rules import WebhookRule
    from .outgoing import Post

PATIENCE = 3 * 24 * 3600.0
"""Seconds after which an entry that nobody takes is given up."""
_FIRST, _LONGEST = 5.0, 3600.0
_EVERY = 1.0
_AT_ONCE = 50
_DOCKER = "application/vnd.docker.distribution.events.v2+json"
_CLOUD = "application/cloudevents+json"
_KEY = "whsec_"


class DeliveryProgress(NamedTuple):
    """How far a webhook is: entries up to `position` are over; the next one failed `tries` times."""

    position: int
    tries: int = 0
    again: float = 0.0
    error: str = ""

    def failed(self, now: float, error: str) -> DeliveryProgress:
        """It is to be told once more, later."""
        pause = min(_FIRST * 2**self.tries, _LONGEST)
        return self._replace(tries=self.tries + 1, again=now + pause, error=error[:300])


class WebhookState(Value):
    """How far a webhook is: how many entries `behind`; why the last try failed, "" if it did not.

    `place` is its URL without what may be secret.
    """

    name: str
    place: str
    events: tuple[str, ...]
    signed: bool
    behind: int
    tries: int
    error: str


class Webhook:
    """One receiver. `post` tells it."""

    def __init__(self, rule: WebhookRule, catalog: Catalog, activity: Activity, post: Post) -> None:
        self.rule, self._catalog, self._activity, self._post = rule, catalog, activity, post
        self._marks = Marks(catalog)
        self._mark = f"webhook {rule.name}"

    def progress(self) -> DeliveryProgress:
        """A new one begins with what happens from now on."""
        text = self._marks.get(self._mark)
        if not text:
            found = DeliveryProgress(self._activity.newest())
            self._keep(found)
            return found
        return DeliveryProgress(*json.loads(text))

    def _keep(self, progress: DeliveryProgress) -> None:
        self._marks.set(self._mark, json.dumps(progress))

    def is_due(self) -> bool:
        """Is there something to tell, and is it time?"""
        found = self.progress()
        return found.position < self._activity.newest() and found.again <= self._catalog.now()

    def steps(self) -> Iterator[int]:
        """Tell what is new; how many entries so far. Ends with the first that fails."""
        progress, count = self.progress(), 0
        while entries := self._activity.after(progress.position, _AT_ONCE):
            for entry in entries:
                if self.wants(entry):
                    error = self.tell(entry)
                    if error and self._catalog.now() - entry.at < PATIENCE:
                        self._keep(progress.failed(self._catalog.now(), error))
                        return
                    count += 1
                    progress = DeliveryProgress(entry.id, error=error and f"given up: {error}")
                    self._keep(progress)
                    yield count
                progress = DeliveryProgress(entry.id, error=progress.error)
            self._keep(progress)

    @property
    def behind(self) -> int:
        """Entries that it has not been told of, whether it wants them or not."""
        return max(0, self._activity.newest() - self.progress().position)

    def state(self) -> WebhookState:
        """How far it is, for people."""
        rule, progress = self.rule, self.progress()
        scheme, host, port = origin(rule.url)
        place = f"{scheme}://{host}:{port}"
        how = (self.behind, progress.tries, progress.error)
        return WebhookState(rule.name, place, rule.events, bool(rule.secret), *how)

    def test(self) -> str:
        """Tell it of something that did not happen; why it failed, "" if it did not."""
        digest = f"sha256:{'0' * 64}"
        return self.tell(ActivityEntry(0, self._catalog.now(), "", "", "test", "test", "test", digest, ""))

    def wants(self, entry: ActivityEntry) -> bool:
        """Does the rule name such an entry?"""
        return entry.action in self.rule.events and any(
            fnmatchcase(entry.repository, pattern) for pattern in self.rule.repositories
        )

    def tell(self, entry: ActivityEntry) -> str:
        """Once; why it failed, "" if it did not."""
        make, kind = (cloud_event, _CLOUD) if self.rule.format == "cloudevents" else (docker_event, _DOCKER)
        body = json.dumps(make(entry)).encode()
        headers = {"Content-Type": kind, "User-Agent": "nacre-registry"}
        headers |= {"traceparent": entry.trace} if entry.trace else {}
        headers |= signed(self.rule.secret, f"nacre-{entry.id}", int(self._catalog.now()), body)
        try:
            status = self._post(self.rule.url, headers, body, self.rule.nearby)
        except NacreError as error:
            return error.message
        return "" if 200 <= status < 300 else f"it answered {status}"


def signed(secret: str, number: str, seconds: int, body: bytes) -> dict[str, str]:
    """The headers by which a receiver knows that it was us, and when; without a secret no signature."""
    headers = {"webhook-id": number, "webhook-timestamp": str(seconds)}
    if secret:
        key = base64.b64decode(secret.removeprefix(_KEY)) if secret.startswith(_KEY) else secret.encode()
        mac = hmac.new(key, f"{number}.{seconds}.".encode() + body, hashlib.sha256).digest()
        headers["webhook-signature"] = f"v1,{base64.b64encode(mac).decode()}"
    return headers


def docker_event(entry: ActivityEntry) -> dict[str, Any]:
    """The envelope that docker's registry sends (distribution, notifications), with one event."""
    target = {"digest": entry.digest, "repository": entry.repository, "tag": entry.reference}
    event = {
        "id": f"nacre-{entry.id}", "timestamp": _moment(entry.at), "action": entry.action,
        "target": {name: value for name, value in target.items() if value},
        "request": {"addr": entry.client}, "actor": {"name": entry.actor},
    }  # fmt: skip
    if entry.former:
        event["former"] = entry.former
    return {"events": [event]}


def cloud_event(entry: ActivityEntry) -> dict[str, Any]:
    """A CloudEvent 1.0 in structured mode; `traceparent` as its extension for distributed tracing has it."""
    return {
        "specversion": "1.0", "id": f"nacre-{entry.id}", "source": "/nacre/registry",
        "type": f"dev.nacre.registry.{entry.action}", "time": _moment(entry.at),
        "subject": f"{entry.repository}:{entry.reference}" if entry.reference else entry.repository,
        "datacontenttype": "application/json",
        "data": {
            "repository": entry.repository, "reference": entry.reference, "digest": entry.digest,
            "former": entry.former, "actor": entry.actor, "client": entry.client,
        },
    } | ({"traceparent": entry.trace} if entry.trace else {})  # fmt: skip


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def jobs_of(webhooks: list[Webhook], tell: Callable[[str], object]) -> Iterator[Job]:
    """One for each, so that none waits for another. `tell` takes a line for what was told."""
    for webhook in webhooks:
        name = webhook.rule.name

        def told(count: int, name: str = name) -> None:
            tell(f"webhook {name}: told {count} events")

        yield Job(f"webhook {name}", webhook.steps, _EVERY, told, webhook.is_due)
