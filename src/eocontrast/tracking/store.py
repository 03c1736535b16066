"""Open the tracking store: the project's own SQLite file, or the server that the user names.

Nothing else knows addresses. Mistakes are reported before a stage works, within ten seconds.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from functools import cache
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Experiment
from mlflow.exceptions import MlflowException
from mlflow.store.db.utils import _get_latest_schema_revision
from requests import RequestException
from sqlalchemy.exc import SQLAlchemyError

from eocontrast.runtime.errors import UserError, one_line

EXPERIMENT = "eocontrast"
ARTIFACTS = "mlartifacts"
"""Folder of the project's artifacts. The database names it relative to the project, so that a
project that is moved or copied finds its own."""

UNAVAILABLE = (MlflowException, RequestException, OSError)
"""Errors of a server that has gone, or that refuses what is sent."""

_SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql", "databricks")
_LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Columns of MLflow 3 that hold the address of an artifact."""

_PATIENCE = 30.0
"""Seconds after which a database that does not change has nobody at work on it."""


def project_root() -> Path:
    """Return the project's folder; a queued run of DVC works in a temporary copy of it."""
    return Path(os.environ.get("DVC_ROOT", ".")).absolute()


def tracking_uri() -> str:
    """Return the address of the tracking store."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{project_root() / 'mlflow.db'}"


def remote(uri: str) -> bool:
    """Return whether a store is a server, which may go away while a stage works."""
    return uri.startswith(("http:", "https:", "databricks"))


def open_store() -> tuple[MlflowClient, Experiment]:
    """Return a client of the tracking store, and the experiment of this project.

    Raises:
        UserError: the address is none of a store, or nobody answers there.
    """
    uri, root = tracking_uri(), project_root()
    if urlsplit(uri).scheme.partition("+")[0] not in _SCHEMES:
        raise UserError(
            f"MLFLOW_TRACKING_URI is {uri!r}, expected a server (http://host:5000) or a database "
            "(sqlite:///mlflow.db): MLflow keeps no runs in folders. Unset it for the project's own"
        )
    # a server keeps its own addresses; those in the project's file are made relative
    own = _sqlite_file(uri) == root / "mlflow.db"
    location = ARTIFACTS if own else (root / ARTIFACTS).as_uri()
    try:
        with _alone(uri), _impatient(remote(uri)):
            client = MlflowClient(tracking_uri=uri)
            found = _experiment(client, location if uri.startswith("sqlite:") else None)
            if own and _localise(root):
                found = client.get_experiment(found.experiment_id)
    except (*UNAVAILABLE, SQLAlchemyError) as error:
        raise UserError(
            f"MLflow does not answer at {_public(uri)} ({one_line(error)}). Start the server, "
            "correct MLFLOW_TRACKING_URI, or unset it to log into mlflow.db"
        ) from error
    # MLflow's own 7 tries of up to 2 minutes would hold a stage for long if the server goes away
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    return client, found


def _public(uri: str) -> str:
    """Return an address without user and password."""
    parts = urlsplit(uri)
    return uri.replace(f"{parts.netloc.rpartition('@')[0]}@", "") if "@" in parts.netloc else uri


def _sqlite_file(uri: str) -> Path | None:
    path = uri.removeprefix("sqlite:///")
    return None if path == uri else Path(path).absolute()


def _experiment(client: MlflowClient, location: str | None) -> Experiment:
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is None:
        # fails if another process was faster, for example on a server, which no lock guards
        with suppress(MlflowException):
            client.create_experiment(EXPERIMENT, artifact_location=location)
        found = client.get_experiment_by_name(EXPERIMENT)
    if found is None:
        raise MlflowException(f"it has no experiment {EXPERIMENT} and creates none")
    return found


@contextmanager
def _impatient(server: bool) -> Iterator[None]:
    """Let MLflow ask a server once, for at most ten seconds."""
    limits = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
    before = {name: os.environ.get(name) for name in limits}
    os.environ.update(limits if server else {})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Let stages that start together open a database one after the other, with all tables.

    MLflow creates the tables of an SQLite file in hundreds of steps when a client first opens it.
    Two processes that do so at once leave a database that neither can read.
    """
    path = _sqlite_file(uri)
    with nullcontext() if path is None else FileLock(f"{path}.lock"):
        if path is not None and not path.exists():
            _create(path)
        elif path is not None:
            _await_tables(path)
        yield


def _create(path: Path) -> None:
    """Create a database beside its place: `mlflow ui` may open it at any moment."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        MlflowClient(tracking_uri=f"sqlite:///{partial}").search_experiments(max_results=1)
        with suppress(FileExistsError):  # `mlflow ui` was faster
            # a link, because it fails where the file exists; a rename would replace it
            os.link(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    _await_tables(path)


def _await_tables(path: Path) -> None:
    """Wait while another process, such as `mlflow ui`, creates the tables of a file.

    It is at work while the file changes and its version is not the last one of MLflow's migrations.
    """
    while time.time() - path.stat().st_mtime < _PATIENCE:
        try:
            with closing(sqlite3.connect(path, timeout=_PATIENCE)) as database:
                # the last table is made when the version is written
                found = database.execute("SELECT version_num FROM alembic_version").fetchone()
        except sqlite3.OperationalError:  # no table yet
            found = None
        except sqlite3.DatabaseError:  # no database: MLflow says so
            return
        if found == (_head(),):
            return
        time.sleep(0.5)


@cache
def _head() -> str:
    return str(_get_latest_schema_revision())  # type: ignore[no-untyped-call]


def _localise(root: Path) -> bool:
    """Make the addresses of artifacts relative, and return whether one was not.

    MLflow writes absolute ones. A project that is moved would lose its models, and a copy would
    write into the original.
    """
    changed, folders = 0, set[str]()
    with closing(sqlite3.connect(root / "mlflow.db", timeout=60)) as database, database:
        for table, column in _LOCATIONS:
            with suppress(sqlite3.OperationalError):  # a version of MLflow without this column
                # tables and columns are those of _LOCATIONS, never a user's
                like = f"SELECT DISTINCT {column} FROM {table} WHERE {column} LIKE ?"  # nosec B608
                for (uri,) in database.execute(like, (f"%/{ARTIFACTS}%",)).fetchall():
                    if (new := _relative(uri, root)) is not None:
                        update = f"UPDATE {table} SET {column} = ? WHERE {column} = ?"  # nosec B608
                        changed += database.execute(update, (new, uri)).rowcount
                        folders.add(uri.partition(f"/{ARTIFACTS}")[0].removeprefix("file://"))
    moved = folders - {str(root), quote(str(root))}
    if moved:
        print(f"MLflow's records were made in {', '.join(sorted(moved))}: they now name files here")
    return changed > 0


def _relative(uri: str, root: Path) -> str | None:
    """Return the address in this project, or None if the files are only at the old place."""
    parts = urlsplit(uri)
    if parts.scheme not in ("", "file"):  # a bucket or a server
        return None
    path = unquote(parts.path) if parts.scheme else uri
    _, slash, rest = path.partition(f"/{ARTIFACTS}")
    new = f"{ARTIFACTS}{rest}"
    known = not rest or (root / new).exists() or not Path(path).exists()
    return new if slash and known else None
