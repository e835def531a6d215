"""Certificates of a local Corkboard: everybody has one of one authority, and the command line is who it must be."""

from pathlib import Path

import pytest
from cryptography import x509

from chassis.config import load
from chassis.grpc.stub_methods import Stub
from chassis.metrics import Metrics
from chassis.tls import CertificateSource, read_certificates
from corkboard.local import certificates
from corkboard.local.home import Home
from corkboard.local.plan import Addresses, Planner
from corkboard.local.ports import Ports
from protos.blender.v1.blender_pb2_grpc import FeedServiceStub
from protos.callers import OUTSIDE, WORKLOADS
from protos.indexer.v1.indexer_pb2_grpc import FeatureServiceStub, SequenceServiceStub
from protos.ingest.v1.ingest_pb2_grpc import IngestServiceStub
from protos.ranker.v1.ranker_pb2_grpc import ScoringServiceStub
from services.ranker.config import Config as RankerConfig


def names_in(folder: Path, who: str) -> list[str]:
    leaf = x509.load_pem_x509_certificate(read_certificates(certificates.paths_of(folder, who)).chain_pem)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def test_everybody_has_a_certificate_and_an_earlier_start_has_none_of_them(tmp_path: Path) -> None:
    folder = tmp_path / "certificates"
    certificates.issue_all(folder)
    first = read_certificates(certificates.paths_of(folder, "cg")).authorities_pem
    assert {path.name for path in folder.iterdir()} == {*WORKLOADS, *OUTSIDE}
    assert names_in(folder, "ranker-leaf") == [f"{certificates.PREFIX}ranker-leaf"]
    certificates.issue_all(folder)
    assert read_certificates(certificates.paths_of(folder, "cg")).authorities_pem != first
    certificates.forget(folder)
    assert not folder.exists()


def test_each_process_is_told_of_its_own(tmp_path: Path) -> None:
    home = Home(tmp_path)
    certificates.issue_all(home.certificates)
    addresses = Addresses("127.0.0.1:7092", {"local": "redis://127.0.0.1:7379/0"}, "")
    plan = Planner(home, Ports(), ("local",), addresses, "key", has_tls=True).plan()
    root = next(spec for spec in plan.services if spec.name == "ranker")
    config = load(RankerConfig, "RANKER_", root.environment)
    assert config.tls_enabled and config.tls_identity_prefix == certificates.PREFIX
    assert config.tls_cert_path == str(home.certificates / "ranker-root" / "tls.crt")
    assert all(any(name.endswith("_TLS_ENABLED") for name in spec.environment) for spec in plan.services)
    plain = Planner(home, Ports(), ("local",), addresses, "key").plan()
    assert not any("_TLS_" in name for spec in plain.services for name in spec.environment)


@pytest.mark.parametrize(
    ("stub", "method", "who"),
    [
        (FeedServiceStub, "GetFeed", "surface"),
        (FeedServiceStub, "ExplainFeed", "people"),
        (IngestServiceStub, "PublishPins", "content"),
        (SequenceServiceStub, "GetSequence", "people"),
        (FeatureServiceStub, "BatchGetPins", "people"),
        (ScoringServiceStub, "Score", "people"),
    ],
)
def test_the_command_line_is_whoever_may_call(stub: Stub, method: str, who: str) -> None:
    assert certificates.identity_for(stub, method) == who


def test_a_job_reads_its_certificates_from_the_environment(tmp_path: Path) -> None:
    assert certificates.job_environment(None) == {}
    assert CertificateSource.of_environment(Metrics("job"), {}) is None
    certificates.issue_all(tmp_path)
    source = CertificateSource.of_environment(Metrics("job"), certificates.job_environment(tmp_path))
    assert source is not None
    assert source.current == read_certificates(certificates.paths_of(tmp_path, "jobs"))
