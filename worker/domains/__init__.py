"""The event domains, listed explicitly: a new one is a folder and one entry here."""

from worker.domains import sales
from worker.domains.domain import Domain

DOMAINS: tuple[Domain, ...] = (sales.DOMAIN,)
