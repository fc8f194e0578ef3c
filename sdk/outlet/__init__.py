"""Write plugins for Outlet.

from outlet import Api, Event, Plugin

plugin = Plugin()

@plugin.hook("sale.created")
async def greet(api: Api, event: Event) -> None:
    api.log("info", f"sale {event.data['id']}")
"""

from outlet import _columns as column
from outlet._api import Api, Transport
from outlet._background import Job, Tick
from outlet._data import DataPage
from outlet._errors import ApiError, DeclarationError, Problem
from outlet._events import Event
from outlet._fetch import FetchResponse, Secret
from outlet._models import Model, Page
from outlet._plugin import Component, Plugin
from outlet._plugin_calls import PluginResponse
from outlet._requests import Caller, Request, Response
from outlet._tables import Table
from outlet._updates import Update
from outlet._validation import Violation
from outlet._webhooks import Webhook, WebhookDelivery

__all__ = [
    "Api",
    "ApiError",
    "Caller",
    "Component",
    "DataPage",
    "DeclarationError",
    "Event",
    "FetchResponse",
    "Job",
    "Model",
    "Page",
    "Plugin",
    "PluginResponse",
    "Problem",
    "Request",
    "Response",
    "Secret",
    "Table",
    "Tick",
    "Transport",
    "Update",
    "Violation",
    "Webhook",
    "WebhookDelivery",
    "column",
]
