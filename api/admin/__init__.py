"""/v1/admin: what the command line does with tenants and their keys, over HTTP."""
