"""The instance's certificate authority, its certificates, and the service-account key."""

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from devcluster.state import write_file

_VALID_FOR = dt.timedelta(days=3650)


@dataclass(frozen=True)
class Pair:
    """Files of a certificate and its private key."""

    cert: Path
    key: Path


@dataclass(frozen=True)
class Pki:
    """Files of an instance's keys; each certificate serves as client or server."""

    ca: Path
    etcd: Pair
    apiserver: Pair
    controller_manager: Pair
    admin: Pair
    service_account_key: Path
    service_account_public_key: Path


def ensure_pki(folder: Path) -> Pki:
    """Make what is not there yet; idempotent, also when it was stopped half-way."""
    ca = Pair(folder / "ca.crt", folder / "ca.key")
    if not _complete(ca):
        _issue(ca, "weir-dev", (), (), issuer=None)
    names = ("localhost", "kubernetes.default.svc")

    def issued(name: str, common_name: str, organization: tuple[str, ...] = ()) -> Pair:
        pair = Pair(folder / f"{name}.crt", folder / f"{name}.key")
        if not _complete(pair):
            _issue(pair, common_name, organization, names, issuer=ca)
        return pair

    key, public = folder / "service-account.key", folder / "service-account.pub"
    if not (key.exists() and public.exists()):
        made = ec.generate_private_key(ec.SECP256R1())
        write_file(key, _key_pem(made))
        write_file(public, _public_pem(made))
    return Pki(
        ca=ca.cert,
        etcd=issued("etcd", "etcd"),
        apiserver=issued("apiserver", "kube-apiserver"),
        controller_manager=issued("controller-manager", "system:kube-controller-manager"),
        admin=issued("admin", "weir-dev-admin", ("system:masters",)),
        service_account_key=key,
        service_account_public_key=public,
    )


def _complete(pair: Pair) -> bool:
    return pair.cert.exists() and pair.key.exists()


def _issue(
    pair: Pair,
    common_name: str,
    organization: tuple[str, ...],
    dns_names: tuple[str, ...],
    issuer: Pair | None,
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in organization]
        + [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    )
    now = dt.datetime.now(dt.UTC)
    draft = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + _VALID_FOR)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if issuer is None:
        certificate = draft.issuer_name(subject).sign(key, hashes.SHA256())
    else:
        ca = x509.load_pem_x509_certificate(issuer.cert.read_bytes())
        ca_key = serialization.load_pem_private_key(issuer.key.read_bytes(), None)
        assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
        addresses = [
            x509.IPAddress(ipaddress.ip_address(text)) for text in ("127.0.0.1", "10.96.0.1")
        ]
        alternatives = [x509.DNSName(name) for name in dns_names]
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = (
            draft.issuer_name(ca.subject)
            .add_extension(x509.SubjectAlternativeName([*alternatives, *addresses]), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .sign(ca_key, hashes.SHA256())
        )
    # The certificate comes last: a pair is complete when both files are there and belong together.
    pair.cert.unlink(missing_ok=True)
    write_file(pair.key, _key_pem(key))
    write_file(pair.cert, certificate.public_bytes(serialization.Encoding.PEM).decode())


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    ).decode()


def _public_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )
