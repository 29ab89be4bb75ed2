"""What a start loads."""

import subprocess
import sys

import pytest

RARE = (
    *("mcproxy.page.routes", "starlette.routing", "jinja2"),  # the page
    *("httpx", "h11", "mcp", "jwt", "opentelemetry", "valkey", "yaml"),
    *("prometheus_client", "rich", "requests", "dotenv"),
)


@pytest.mark.requirement("start.lean")
def test_what_few_need_is_loaded_when_it_is_needed() -> None:
    program = f"import sys, mcproxy.cli, mcproxy.serve; print(*sys.modules.keys() & {{*{RARE}}})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
