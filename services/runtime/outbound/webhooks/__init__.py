"""Webhooks: events that plugins have sent on to receivers outside, signed, and tried again for more than a day."""
