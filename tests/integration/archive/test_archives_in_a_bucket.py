"""Archives in a bucket of an S3-compatible server."""

from archiving import NOW, QUIET, Months
from bucket_server import ACCESS_KEY, REGION, serving

from infrastructure.archive.erasing import erase_from_archives
from infrastructure.safekeeping.fingerprint import state_of
from infrastructure.safekeeping.settings import BackupSettings
from infrastructure.safekeeping.stores import open_store


def test_a_month_is_archived_into_a_bucket_loaded_from_it_and_forgotten_in_it(months: Months) -> None:
    expected = state_of(months.connection, "events_2049_12")
    with serving() as server:
        settings = BackupSettings(
            SSPP_BACKUP_URL="s3://backups/of/site",
            SSPP_BACKUP_S3_ENDPOINT=server.url,
            AWS_REGION=REGION,
            AWS_ACCESS_KEY_ID=ACCESS_KEY,
            AWS_SECRET_ACCESS_KEY="a secret",
        )
        months.store = open_store(settings)

        months.drop()

        assert len(server.objects) == 6
        archive = months.archives()["events_2049_12"]
        assert state_of(months.connection, months.load(archive)) == expected
        months.erase(7, "c-2", NOW)
        assert len(erase_from_archives(months.connection, months.store, QUIET, now=NOW)) == 2
        assert len(server.objects) == 6
        assert f"of/site/{archive.content.name}" not in server.objects
