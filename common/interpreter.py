"""How Python itself is set up in our processes."""

import gc
import sys

_YOUNG_OBJECTS = 50_000
_SWITCH_SECONDS = 0.0005


def settle() -> None:
    """Tune this process's interpreter; call it once everything is imported, before the work begins.

    What was imported stays for good, so the garbage collector need not walk it again and again; and a batch makes
    some ten thousand objects, all of which go by themselves, so it need not look each time there are 700. That was
    a third of an ingest worker's time. A thread that waited for a server gets its turn after half a millisecond rather
    than five, so that the server does not wait in turn.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 20, 50)
    sys.setswitchinterval(_SWITCH_SECONDS)
