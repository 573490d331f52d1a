"""The daemon's self-signed certificate. Callers pin its fingerprint, told in the Host's status."""

import datetime as dt
import hashlib
import ipaddress
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

logger = logging.getLogger(__name__)

_FILE = "daemon-tls.pem"
_VALID = dt.timedelta(days=3650)
_RENEW_BEFORE = dt.timedelta(days=90)
_CLOCK_SKEW = dt.timedelta(days=1)
_COMMON_NAME_LIMIT = 64  # RFC 5280, ub-common-name


@dataclass(frozen=True, slots=True)
class Certificate:
    """Where certificate and key are (one file, so that they always match), and what to pin."""

    cert_path: Path
    key_path: Path
    fingerprint: str  # "sha256:<hex>" of the DER form


def load_or_create(
    state_dir: Path, names: Sequence[str], *, now: dt.datetime | None = None
) -> Certificate:
    """Return the certificate for these host names and addresses, making one where needed.

    A new one is made when there is none, when the names differ, or when it ends within 90 days.
    """
    now = now or dt.datetime.now(dt.UTC)
    wanted = _alternative_names(names)
    path = state_dir / _FILE
    known = _load(path)
    if known is None or not _serves(known, wanted, now):
        known = _create(path, wanted, names[0], now)
        logger.info("made a certificate for names=%s", ",".join(names))
    digest = hashlib.sha256(known.public_bytes(serialization.Encoding.DER)).hexdigest()
    return Certificate(path, path, f"sha256:{digest}")


def _alternative_names(names: Sequence[str]) -> list[x509.GeneralName]:
    return [_general_name(name) for name in dict.fromkeys(names)]


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _load(path: Path) -> x509.Certificate | None:
    """Return the certificate in the file if it is whole and its key fits; else None."""
    try:
        pem = path.read_bytes()
        certificate = x509.load_pem_x509_certificate(pem)
        key = serialization.load_pem_private_key(pem, password=None)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        logger.warning("the certificate in %s cannot be used, making another: %s", path, error)
        return None
    return certificate if certificate.public_key() == key.public_key() else None


def _serves(
    certificate: x509.Certificate, wanted: Sequence[x509.GeneralName], now: dt.datetime
) -> bool:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return False
    valid = (
        certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc - _RENEW_BEFORE
    )
    return valid and set(extension.value) == set(wanted)


def _create(
    path: Path, names: Sequence[x509.GeneralName], common_name: str, now: dt.datetime
) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:_COMMON_NAME_LIMIT])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())  # a lost certificate would change the fingerprint
    fresh.rename(path)
    return certificate
