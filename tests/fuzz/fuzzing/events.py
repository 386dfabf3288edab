"""All families of single events; a module with more of them is one more import here."""

from fuzzing import event_data, event_envelopes, event_texts
from fuzzing.families import EVENT_FAMILIES

__all__ = ["EVENT_FAMILIES", "event_data", "event_envelopes", "event_texts"]
