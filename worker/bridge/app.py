"""A Celery app whose broker, result backend and configuration are its own, whatever Celery's variables say.

Celery puts CELERY_BROKER_URL and its kin, which a web app and its workers often share in one file, before all that an
app sets. Here that would take events off the queue without a lease.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery import Celery
from celery.loaders.app import AppLoader
from kombu.transport import TRANSPORT_ALIASES

if TYPE_CHECKING:
    from worker.runtime import Runtime

BROKER = "otpreport://localhost//"

TRANSPORT_ALIASES["otpreport"] = "worker.bridge.transport:Transport"


class Loader(AppLoader):
    """A loader without a configuration module: CELERY_CONFIG_MODULE is another app's."""

    def read_configuration(self, env: str = "CELERY_CONFIG_MODULE") -> dict[str, object]:
        """Read nothing."""
        return {}


class App(Celery):
    """Celery with what its pool runs."""

    otpreport_runtime: Runtime

    builtin_fixups: set[str] = set()  # noqa: RUF012 - as Celery types it
    """None: Django's sets up the project that DJANGO_SETTINGS_MODULE names."""
    backend_cls = "disabled"

    def __init__(self) -> None:
        super().__init__("otpreport", loader=Loader, set_as_current=False)

    def connection_for_read(self, url: str | None = None, **options: Any) -> Any:
        """Return a connection of our transport, whatever was asked for."""
        return super().connection_for_read(BROKER, **options)

    def connection_for_write(self, url: str | None = None, **options: Any) -> Any:
        """Return a connection of our transport, whatever was asked for."""
        return super().connection_for_write(BROKER, **options)
