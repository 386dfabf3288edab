-- name: set_tenancy
SELECT set_config('sspp.tenant_id', %(tenant)s, true), set_config('sspp.platform_affair', %(platform)s, true);
