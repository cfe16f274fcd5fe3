"""Runs on an MLflow tracking server: a parent for each stored run, and in it a child a label.

The parent holds the verdict (tags, verdict.json, report.md); a child the label's configuration
(params), its trainings by epoch, its rungs' values and limits, and its step times (metrics, named
as in verdict.json). A run that is there whole is not written again; what an export that broke off
left there is deleted first. Experiment: MLFLOW_EXPERIMENT_NAME, or framework-harness. Needs
MLflow's client: mlflow-skinny, or mlflow itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
import re
from collections.abc import Sequence
from typing import Any

from harness.errors import InputError
from harness.export.figures import OF_STEP_TIME, Point, Series, numbers, points, times
from harness.export.shown import (
    LONGEST_NAME,
    LeftOut,
    Run,
    configuration,
    distinct,
    line,
    missing,
    ranked,
    started,
)
from harness.record.facts import versions
from harness.report import tables
from harness.report.run import as_markdown
from harness.verdict.verdict import LabelVerdict, agreement, to_json

EXPERIMENT = "framework-harness"
# What an MLflow server takes: metrics and params of one request, characters of a param (the least
# of the versions since 2.0).
MOST_METRICS = 1000
MOST_PARAMS = 100
LONGEST_PARAM = 500
# A run is found by the digest of its name (which may hold any character); this tag says that it is
# there whole.
KEY_TAG, WHOLE_TAG, PARENT_TAG = "harness.key", "harness.whole", "mlflow.parentRunId"


# The metrics of a label.
SERIES = (
    Series("rung", "rung/{rung}/value"),
    Series("rung", "rung/{rung}/limit", value="limit"),
    Series("training loss", "train_loss/seed {seed}", "epoch"),
    Series("test accuracy", "test_accuracy/seed {seed}", "epoch"),
    Series("step time", "step_time/median_ns"),
    Series("step time", "step_time/ci95_low_ns", value="low"),
    Series("step time", "step_time/ci95_high_ns", value="high"),
    Series("session's step time", "step_time/session_median_ns", "session"),
    *(Series(what, f"step_time/{field}") for what, field, _ in OF_STEP_TIME),
)


def log(runs: Sequence[Run], uri: str | None) -> tuple[list[str], list[LeftOut]]:
    """Logs to the server at `uri`, else at MLFLOW_TRACKING_URI.

    Returns the addresses of what was written, and what was not, with the reason. Raises InputError
    where no server is named or it does not answer as one.
    """
    address = uri or os.environ.get("MLFLOW_TRACKING_URI")
    if not address:
        raise InputError("export mlflow: name the server: --tracking-uri URI, or set "
                         "MLFLOW_TRACKING_URI")  # fmt: skip
    # MLflow's own patience with a server that is not there is four minutes; and it would report
    # its use to its makers.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise missing("mlflow", error) from None
    written, left_out = [], []
    # It prints addresses to stdout, where only ours belong.
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            client = MlflowClient(tracking_uri=address)
            experiment = _experiment(client)
        except (MlflowException, OSError, ValueError, ImportError) as error:
            raise _no_server(address, error) from None
        try:
            for run in runs:
                if (there := _already_there(client, experiment, run)) is not None:
                    told = LeftOut(run.record.run, "all of it", f"already there as {there}")
                    left_out.append(told)
                    continue
                parent, without = _log_run(client, experiment, run)
                written.append(_place(address, experiment, parent))
                left_out += without
        except (MlflowException, OSError) as error:
            raise _no_server(address, error) from None
    return written, left_out


def _place(address: str, experiment: str, run_id: str) -> str:
    """Where a run can be seen in a browser; of a store without a server its id there."""
    if address.startswith(("http://", "https://")):
        return f"{_shown(address)}/#/experiments/{experiment}/runs/{run_id}"
    return f"{_shown(address)}, run {run_id}"


def _no_server(address: str, error: Exception) -> InputError:
    told = str(error).replace(address, _shown(address))
    return InputError(line(f"mlflow at {_shown(address)}: {told}"))


def _shown(address: str) -> str:
    """An address without the name and password that it may hold."""
    return re.sub(r"//[^/?#]*@", "//", address).rstrip("/")


def _experiment(client: Any) -> str:
    """The id of the experiment, made if it is not there."""
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
    experiment = client.get_experiment_by_name(name)
    return str(experiment.experiment_id if experiment else client.create_experiment(name))


def _key(run: Run) -> str:
    return hashlib.sha256(run.record.run.encode("utf-8", "replace")).hexdigest()


def _already_there(client: Any, experiment: str, run: Run) -> str | None:
    """The id of this run where it is there whole; what is there in part is deleted."""
    for parent in client.search_runs([experiment], f"tags.`{KEY_TAG}` = '{_key(run)}'"):
        if WHOLE_TAG in parent.data.tags:
            return str(parent.info.run_id)
        own = f"tags.`{PARENT_TAG}` = '{parent.info.run_id}'"
        for part in (*client.search_runs([experiment], own), parent):
            client.delete_run(part.info.run_id)
    return None


def _log_run(client: Any, experiment: str, run: Run) -> tuple[str, list[LeftOut]]:
    """A stored run as a parent with its children; its id, and what is left out."""
    record, verdict = run.record, run.verdict
    begun, ended = started(record), started(record) + max(0.0, record.seconds)
    tags = {
        KEY_TAG: _key(run),
        "harness.run": record.run,
        "harness.verdict": verdict.verdict,
        "harness.summary": verdict.summary,
        "harness.version": record.harness_version,
        "harness.profile": record.plan.profile,
        "mlflow.note.content": tables.escape(verdict.summary),
    }
    parent = _create(client, experiment, record.run, begun, tags)
    timed, left_out = ranked(run)
    names = distinct(verdict.labels)
    for name, label in verdict.labels.items():
        tags = {
            PARENT_TAG: parent,
            "harness.run": record.run,
            "harness.label": name,
            "harness.status": label.status,
            "harness.reason": label.reason or "",
            "harness.agreement": agreement(label),
            **{f"harness.rung.{rung}": of.verdict for rung, of in label.findings.items()},
        }
        child = _create(client, experiment, names[name], begun, tags)
        figures = [*numbers(run, name), *(times(run, name) if name in timed else ())]
        series = points(figures, SERIES, record.plan.labels[name].dtype)
        for key in _log(client, child, series, _params(run, name, label), begun):
            left_out.append(LeftOut(record.run, f"{key} of {name}", "MLflow has no infinity"))
        _end(client, child, "FAILED" if label.status == "failed" else "FINISHED", ended)
    document = to_json(record, verdict, str(run.folder.resolve()))
    client.log_text(parent, json.dumps(document, indent=1, allow_nan=False), "verdict.json")
    client.log_text(parent, as_markdown(record, verdict), "report.md")
    _end(client, parent, "FAILED" if verdict.verdict == "failed" else "FINISHED", ended)
    client.set_tag(parent, WHOLE_TAG, "yes")
    return parent, left_out


def _create(client: Any, experiment: str, name: str, begun: float, tags: dict[str, str]) -> str:
    made = client.create_run(
        experiment,
        start_time=int(begun * 1000),
        tags={key: line(value) for key, value in tags.items()},
        run_name=line(name) or "(no name)",
    )
    return str(made.info.run_id)


def _end(client: Any, run_id: str, status: str, ended: float) -> None:
    client.set_terminated(run_id, status, int(min(ended, 1e11) * 1000))


def _log(
    client: Any, run_id: str, figures: list[Point], params: dict[str, Any], begun: float
) -> list[str]:
    """Logs what a server can hold: it has NaN, and would store another number for an infinity.

    Params go under names that MLflow takes; of two that become the same the first is kept. Returns
    the keys of figures that are infinite.
    """
    from mlflow.entities import Metric, Param

    first_of: dict[str, str] = {}
    for key, value in params.items():
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", key)[:LONGEST_NAME]
        first_of.setdefault(name, line(str(value), LONGEST_PARAM))
    kept = [f for f in figures if not math.isinf(f.value)]
    metrics = [Metric(f.key, f.value, int(begun * 1000), f.step) for f in kept]
    told = [Param(key, value) for key, value in first_of.items()]
    for what, rows, most in (("metrics", metrics, MOST_METRICS), ("params", told, MOST_PARAMS)):
        for first in range(0, len(rows), most):
            client.log_batch(run_id, **{what: rows[first : first + most]})
    return list(dict.fromkeys(f.key for f in figures if math.isinf(f.value)))


def _params(run: Run, name: str, label: LabelVerdict) -> dict[str, Any]:
    plan = run.record.plan
    workload = plan.workload
    facts = label.process.facts if label.process else {}
    return {
        "workload": workload.name,
        "optimiser": workload.optimiser.rule,
        "lr": workload.optimiser.lr,
        "batch_size": workload.batch_size,
        "epochs": workload.epochs,
        **{f"size.{key}": value for key, value in workload.sizes.items()},
        "dataset": run.record.dataset.name if run.record.dataset else "",
        "seeds": ",".join(map(str, plan.seeds)),
        "threads": plan.threads,
        "reference": plan.reference,
        **configuration(run, name),
        "python": facts.get("python", ""),
        **{f"version.{key}": value for key, value in versions(facts).items()},
        **{f"machine.{key}": value for key, value in run.record.machine.items()},
    }
