"""Sales: what customers buy, ask for and look at, and what is done to win and keep them."""

from worker.domains.domain import Domain, load_event_types
from worker.domains.sales.projection import project

DOMAIN = Domain(name="sales", project=project, event_types=load_event_types(__name__))
