"""What is told of metrics, held against what is exposed."""

import json
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mcproxy.observe.metrics import MetricFacts, Metrics
from mcproxy.observe.telemetry import DURATIONS
from mcproxy.queues import Load
from mcproxy.types import Outcome, PoolStats, ServerHealth
from tests.observe.test_metrics import call_all

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/telemetry.md").read_text(encoding="utf-8")
DASHBOARD = json.loads((ROOT / "deploy/grafana/mcproxy.json").read_text(encoding="utf-8"))
_ENDINGS = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}


async def exposed() -> dict[str, tuple[str, set[str], set[str]]]:
    """Type, labels and names of samples of each metric of a gateway that has everything."""
    metrics = Metrics()
    await call_all(metrics, "fine", "refuses")
    metrics.execution(Outcome())
    server = ServerHealth("ready", rss_mb=1.0, instances=(1,))
    facts = MetricFacts(1.0, {"github": server}, PoolStats(), {"work": Load(1, 2)})
    text = metrics.expose(facts).decode()
    found = {}
    for family in text_string_to_metric_families(text):
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        name = f"{family.name}_total" if family.type == "counter" else family.name
        samples = {family.name + ending for ending in _ENDINGS[family.type]}
        found[name] = (family.type, labels, samples)
    return found


@pytest.mark.requirement("telemetry.table")
async def test_the_page_has_every_metric_and_no_other() -> None:
    rows = re.findall(r"^\| `(mcproxy_\w+)` \| (\w+) \| ([^|]*)\|", PAGE, re.MULTILINE)
    told = {name: (kind, set(re.findall(r"\w+", labels))) for name, kind, labels in rows}
    found = await exposed()
    assert told == {
        name: (kind, labels) for name, (kind, labels, _) in found.items() if "mcproxy" in name
    }
    assert all(f"`{name}`" in PAGE for name, _ in DURATIONS.values())


@pytest.mark.requirement("telemetry.table")
async def test_the_dashboard_asks_for_metrics_that_are_there() -> None:
    found = await exposed()
    there = {sample for _, _, samples in found.values() for sample in samples}
    asked = {
        name
        for panel in DASHBOARD["panels"]
        for target in panel["targets"]
        for name in re.findall(r"\b((?:mcproxy|process)_\w+)\{", target["expr"])
    }
    assert asked <= there
    ours = {name for name in found if name.startswith("mcproxy")}
    assert {name for name in ours if not any(each.startswith(name) for each in asked)} == set()
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
