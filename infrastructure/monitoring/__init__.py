"""What watches the platform: Prometheus's configuration and rules, Grafana's dashboards, and what makes them."""
