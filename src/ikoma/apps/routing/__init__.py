"""Leads requests to apps: routes, domains, probes of the web service, certificates."""
