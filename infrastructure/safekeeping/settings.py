"""The settings of `sspp backup` and `sspp restore`, read from the environment; no other process needs them."""

from pathlib import Path

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from common.errors import SettingsError
from common.setting_values import ExistingFile


class BackupSettings(BaseSettings):
    """Where backups go, for how long they stay, who can read them, and who hears of them; immutable once read."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", case_sensitive=True, populate_by_name=True, allow_inf_nan=False
    )

    url: str = Field(
        alias="SSPP_BACKUP_URL",
        default="",
        description="Where backups are kept: a folder, or s3://bucket/prefix.",
    )
    keep_days: float = Field(
        alias="SSPP_BACKUP_KEEP_DAYS",
        default=30.0,
        gt=0,
        description="For how many days backups are kept; the last good one stays for longer.",
    )
    age_recipients: str = Field(
        alias="SSPP_BACKUP_AGE_RECIPIENTS",
        default="",
        description="Public keys (age1…, a list with commas) for which backups are encrypted; none: they are not.",
    )
    age_identity_file: ExistingFile = Field(
        alias="SSPP_BACKUP_AGE_IDENTITY_FILE",
        default="",
        description="The file with the secret key (AGE-SECRET-KEY-1…) that opens encrypted backups. Only restores need"
        " it.",
    )
    s3_endpoint: str = Field(
        alias="SSPP_BACKUP_S3_ENDPOINT",
        default="",
        description="The S3-compatible server, https://s3.example.com; default: Amazon's in AWS_REGION.",
    )
    s3_region: str = Field(alias="AWS_REGION", default="us-east-1", description="The region of the bucket.")
    s3_access_key: str = Field(
        alias="AWS_ACCESS_KEY_ID", default="", description="Who the bucket's server lets in."
    )
    s3_secret_key: SecretStr = Field(
        alias="AWS_SECRET_ACCESS_KEY", default=SecretStr(""), description="The secret that belongs to it."
    )
    s3_session_token: SecretStr = Field(
        alias="AWS_SESSION_TOKEN",
        default=SecretStr(""),
        description="Where both are for a time only: their token.",
    )
    metrics_dir: str = Field(
        alias="SSPP_BACKUP_METRICS_DIR",
        default="",
        description="A folder that node_exporter reads (--collector.textfile.directory), for the metrics of backups and"
        " drills.",
    )
    pushgateway_url: str = Field(
        alias="SSPP_BACKUP_PUSHGATEWAY_URL",
        default="",
        description="A Pushgateway that is sent the metrics of backups and drills: http://pushgateway:9091.",
    )
    drill_database_url: SecretStr = Field(
        alias="SSPP_DRILL_DATABASE_URL",
        default=SecretStr(""),
        description="The PostgreSQL server on which drills restore, into a database of their own; default: that of"
        " DATABASE_URL.",
    )
    postgresql_bin: str = Field(
        alias="SSPP_POSTGRESQL_BIN",
        default="",
        description="The folder of pg_dump and pg_restore; default: those on the PATH or of the embedded PostgreSQL.",
    )

    @property
    def recipients(self) -> list[str]:
        """The public keys of SSPP_BACKUP_AGE_RECIPIENTS."""
        return [key for part in self.age_recipients.split(",") if (key := part.strip())]

    @property
    def identity_file(self) -> Path | None:
        """The file of SSPP_BACKUP_AGE_IDENTITY_FILE, if one is named."""
        return Path(self.age_identity_file) if self.age_identity_file else None


def load_backup_settings() -> BackupSettings:
    """Read the settings from the environment.

    Raises:
        SettingsError: a value is out of range; names each of them.
    """
    try:
        return BackupSettings()
    except ValidationError as error:
        problems = "; ".join(
            f"{problem['loc'][0]}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False)
        )
        raise SettingsError(problems) from None
