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
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from harness.errors import InputError
from harness.export.shown import (
    FIGURES,
    LONGEST_NAME,
    LeftOut,
    Run,
    distinct,
    line,
    missing,
    ranked,
    started,
)
from harness.record.facts import versions
from harness.record.schema import Number, Results
from harness.report import tables
from harness.report.run import as_markdown
from harness.verdict.outcome import trainings
from harness.verdict.timings import StepTime, session_medians
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


class Metric(NamedTuple):
    """One point of a metric. `value` may be a text that names what is not finite."""

    key: str
    value: Number
    step: int


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
    found = client.get_experiment_by_name(name)
    return str(found.experiment_id if found else client.create_experiment(name))


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
            **{f"harness.rung.{rung}": found.verdict for rung, found in label.findings.items()},
        }
        child = _create(client, experiment, names[name], begun, tags)
        results = record.results.get(name)
        metrics = [*_rungs(label)]
        if results is not None:
            metrics += _trainings(run, name, results)
            if name in timed:
                metrics += _times(run, timed[name].time, results)
        left_out += _log_metrics(client, child, metrics, begun, run, name)
        _log_params(client, child, _params(run, name, label))
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


def _rungs(label: LabelVerdict) -> Iterator[Metric]:
    for rung, finding in label.findings.items():
        if finding.value is not None:
            yield Metric(f"rung/{rung}/value", finding.value, 0)
        if finding.limit is not None:
            yield Metric(f"rung/{rung}/limit", finding.limit, 0)


def _trainings(run: Run, name: str, results: Results) -> Iterator[Metric]:
    """By epoch, from 1."""
    for training in trainings(results, run.record.plan.labels[name].dtype):
        for epoch, loss in enumerate(training.epoch_losses, start=1):
            yield Metric(f"train_loss/seed {training.seed}", loss, epoch)
        for epoch, accuracy in enumerate(training.test_accuracy, start=1):
            yield Metric(f"test_accuracy/seed {training.seed}", accuracy, epoch)


def _times(run: Run, time: StepTime, results: Results) -> Iterator[Metric]:
    yield Metric("step_time/median_ns", float(time.median_ns), 0)
    for bound, ns in zip(("low", "high"), time.ci95_ns, strict=True):
        yield Metric(f"step_time/ci95_{bound}_ns", float(ns), 0)
    for place, median_ns in enumerate(session_medians(run.record, results)):
        yield Metric("step_time/session_median_ns", median_ns, place)
    for _, field, _ in FIGURES:
        if (value := getattr(time, field)) is not None:
            yield Metric(f"step_time/{field}", float(value), 0)


def _log_metrics(
    client: Any, run_id: str, metrics: list[Metric], begun: float, run: Run, name: str
) -> list[LeftOut]:
    """Logs what a server can hold: it has NaN, and would store another number for an infinity."""
    from mlflow.entities import Metric as Entity

    kept = [m for m in metrics if m.value not in ("inf", "-inf")]
    rows = [Entity(m.key, float(m.value), int(begun * 1000), m.step) for m in kept]
    for first in range(0, len(rows), MOST_METRICS):
        client.log_batch(run_id, metrics=rows[first : first + MOST_METRICS])
    infinite = dict.fromkeys(m.key for m in metrics if m.value in ("inf", "-inf"))
    return [
        LeftOut(run.record.run, f"{key} of {name}", "MLflow has no infinity") for key in infinite
    ]


def _params(run: Run, name: str, label: LabelVerdict) -> dict[str, Any]:
    plan = run.record.plan
    configured, workload = plan.labels[name], plan.workload
    facts = label.process.facts if label.process else {}
    return {
        "workload": workload.name,
        "optimiser": workload.optimiser,
        "lr": workload.lr,
        "batch_size": workload.batch_size,
        "epochs": workload.epochs,
        **{f"size.{key}": value for key, value in workload.sizes.items()},
        "dataset": run.record.dataset.name if run.record.dataset else "",
        "seeds": ",".join(map(str, plan.seeds)),
        "threads": plan.threads,
        "reference": plan.reference,
        "backend": configured.backend,
        "variant": configured.variant,
        "device": configured.device,
        "dtype": configured.dtype,
        "precision": configured.precision,
        "python": facts.get("python", ""),
        **{f"version.{key}": value for key, value in versions(facts).items()},
        **{f"machine.{key}": value for key, value in run.record.machine.items()},
    }


def _log_params(client: Any, run_id: str, params: dict[str, Any]) -> None:
    """Params under names that MLflow takes; of two that become the same the first is kept."""
    from mlflow.entities import Param

    found: dict[str, str] = {}
    for key, value in params.items():
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", key)[:LONGEST_NAME]
        found.setdefault(name, line(str(value), LONGEST_PARAM))
    rows = [Param(key, value) for key, value in found.items()]
    for first in range(0, len(rows), MOST_PARAMS):
        client.log_batch(run_id, params=rows[first : first + MOST_PARAMS])
