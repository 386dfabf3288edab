"""What was revoked after a backup does not come back with it: erasures, suppressions, keys, tenants."""

import json

import pytest
from backing_up import Site, cut_off, failed_with
from people import LATER, MARK, NOON, TENANT, event

from common.tenancy.secrets import new_key


def _finish(site: Site, steps: int = 40) -> None:
    """As rq worker maintenance and rq worker index do it after the restore."""
    site.people.work(steps)
    site.people.index()
    site.people.work(steps)


def _nothing_is_left(site: Site) -> bool:
    return MARK not in site.people.everything() and not any(
        MARK in json.dumps(document) for document in site.people.documents().values()
    )


@pytest.fixture
def erased(site: Site) -> Site:
    """A site with a backup, of which a customer was erased since then."""
    site.people.send(event("a"), event("b", customer="bob"), event("c", kind="unheard_of"))
    site.backup()
    site.people.erase()
    assert _nothing_is_left(site)
    return site


def test_who_was_erased_since_stays_erased_when_the_live_database_can_be_asked(erased: Site) -> None:
    done = erased.restore("--overwrite")
    assert done.exit_code == 0, done.output
    assert "1 erasures" in done.stdout
    assert erased.people.count("events") == erased.people.count("signals") == 0
    _finish(erased)
    assert _nothing_is_left(erased)
    assert erased.people.count("events", "bob") == 1
    [(state, finished)] = erased.execute("SELECT state, finished_at IS NOT NULL FROM erasures")
    assert (state, finished) == ("done", True)


def test_who_was_erased_since_stays_erased_when_it_was_written_down_beside_the_backups(erased: Site) -> None:
    assert erased.run("backup", "--only-revocations").exit_code == 0
    erased.destroy()
    done = erased.restore()
    assert done.exit_code == 0, done.output
    assert "1 erasures" in done.stdout
    assert erased.people.count("events") == 0
    _finish(erased)
    assert _nothing_is_left(erased)


def test_an_event_of_before_the_erasure_is_dropped_after_the_restore_too(erased: Site) -> None:
    assert erased.restore("--overwrite").exit_code == 0
    erased.people.send(event("late"), received_at=NOON)
    assert erased.people.count("events") == 0
    erased.people.send(event("of a new customer"), received_at=LATER.replace(hour=13))
    assert erased.people.count("events") == 1


def test_what_is_not_known_is_said(erased: Site) -> None:
    for file in erased.store.glob("revocations*"):
        file.unlink()
    erased.destroy()
    done = erased.restore()
    assert failed_with(done) == "revocations_unknown"
    assert "NOT KNOWN" in done.stdout
    assert "let nobody in" in done.stderr
    assert erased.people.count("events") == 1


def test_a_damaged_list_of_revocations_is_said_and_the_live_database_asked(erased: Site) -> None:
    [file] = erased.store.glob("revocations*")
    cut_off(file)
    done = erased.restore("--overwrite")
    assert done.exit_code == 0, done.output
    assert "revocations.json is damaged" in done.stderr
    assert "1 erasures" in done.stdout


def test_a_damaged_list_of_revocations_without_a_live_database_leaves_them_unknown(erased: Site) -> None:
    [file] = erased.store.glob("revocations*")
    cut_off(file)
    erased.destroy()
    done = erased.restore()
    assert failed_with(done) == "revocations_unknown"
    assert "revocations.json is damaged" in done.stderr


def test_an_erasure_that_the_backup_caught_unfinished_is_finished(site: Site) -> None:
    site.people.send(event("a"))
    path = site.people.ask_to_erase()
    # As it was left by a server whose transactions had high numbers.
    site.execute("UPDATE erasures SET awaited = '{\"requested\": 4000000000}'")
    site.backup()
    site.destroy()
    assert site.restore().exit_code == 0
    _finish(site)
    assert site.people.receipt(path)["status"] == "done"
    assert _nothing_is_left(site)


def test_suppressions_hold_as_they_were_last(site: Site) -> None:
    site.people.api.put("/v1/customers/was-suppressed/suppression")
    site.backup()
    site.people.api.put(f"/v1/customers/{MARK}/suppression")
    site.people.api.delete("/v1/customers/was-suppressed/suppression")
    assert site.restore("--overwrite").exit_code == 0
    site.people.send(event("a"), event("b", customer="was-suppressed"), received_at=LATER)
    assert site.people.count("events") == 0
    assert site.people.count("events", "was-suppressed") == 1


def test_a_recovered_database_of_which_nothing_is_known_is_told_by_an_exit_code(site: Site) -> None:
    site.store.mkdir()
    done = site.restore("--after-recovery")
    assert failed_with(done) == "revocations_unknown"
    assert "NOT KNOWN" in done.stdout


def test_keys_and_tenants_that_ended_since_stay_ended(site: Site) -> None:
    _, prefix, digest = new_key()
    site.execute(
        "INSERT INTO api_keys (tenant_id, prefix, key_hash, scopes) VALUES (%s, %s, %s, '{read}')",
        (TENANT, prefix, digest),
    )
    site.backup()
    site.execute("UPDATE api_keys SET revoked_at = now() WHERE prefix = %s", (prefix,))
    site.execute("UPDATE tenants SET status = 'suspended', status_since = now() WHERE slug = 'eight'")
    site.run("backup", "--only-revocations")
    site.destroy()
    done = site.restore()
    assert "1 revoked keys, 1 tenants" in done.stdout
    assert site.execute("SELECT revoked_at IS NOT NULL FROM api_keys WHERE prefix = %s", (prefix,)) == [
        (True,)
    ]
    assert site.execute("SELECT status FROM tenants WHERE slug = 'eight'") == [("suspended",)]


def test_what_is_written_down_names_nobody(erased: Site) -> None:
    erased.run("backup", "--only-revocations")
    [file] = erased.store.glob("revocations*")
    assert MARK not in file.read_text()


def test_a_database_that_was_recovered_to_a_point_in_time_is_settled_too(site: Site) -> None:
    site.people.send(event("a"))
    site.people.ask_to_erase()
    assert site.run("backup", "--only-revocations").exit_code == 0
    # As it is when the erasure is undone.
    site.execute("DELETE FROM erasures")
    site.execute("DELETE FROM tombstones")
    done = site.restore("--after-recovery")
    assert done.exit_code == 0, done.output
    assert "1 erasures" in done.stdout
    assert site.people.count("events") == 0
    _finish(site)
    assert _nothing_is_left(site)


def test_a_damaged_list_of_revocations_is_put_aside_and_written_anew(erased: Site) -> None:
    [file] = erased.store.glob("revocations*")
    cut_off(file)
    done = erased.run("backup", "--only-revocations", "--quiet")
    assert done.exit_code == 0, done.output
    assert "revocations.json is damaged" in done.stderr
    assert (erased.store / "revocations.damaged").exists()
    erased.destroy()
    assert "1 erasures" in erased.restore().stdout
