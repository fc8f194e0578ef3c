"""Distributed traces (OpenTelemetry): one way to make spans, and to carry their context from process to process.

Off unless an OTLP endpoint is set (docs/tracing.md). A context is passed on explicitly; what is ambient
(:func:`current`) is only what the task at hand does by itself: a request, an API call, one attempt.
"""

from services.common.tracing.contexts import apart, current, headers_of, of_headers, of_record, of_text, text_of
from services.common.tracing.export import open_tracing
from services.common.tracing.settings import TracingSettings
from services.common.tracing.spans import OFF, Tracing, failed

__all__ = [
    "OFF",
    "Tracing",
    "TracingSettings",
    "apart",
    "current",
    "failed",
    "headers_of",
    "of_headers",
    "of_record",
    "of_text",
    "open_tracing",
    "text_of",
]
