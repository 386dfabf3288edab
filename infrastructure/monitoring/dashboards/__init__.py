"""The dashboards, one module each. `python -m infrastructure.monitoring.generate` writes what Grafana reads."""

from infrastructure.monitoring.dashboards import ingest, overview, postgresql, search, tenants, workers
from infrastructure.monitoring.panels import Dashboard

DASHBOARDS: tuple[Dashboard, ...] = (
    overview.DASHBOARD,
    ingest.DASHBOARD,
    workers.DASHBOARD,
    postgresql.DASHBOARD,
    search.DASHBOARD,
    tenants.DASHBOARD,
)
