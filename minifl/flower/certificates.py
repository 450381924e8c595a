"""TLS certificates and node keys of a federation, made with the library `cryptography`, which comes with Flower.

An authority of this federation alone signs the certificate of its SuperLink; nodes trust that authority alone.
Each node has a key of its own, on the curve P-384, whose public half is registered with the SuperLink.
"""

import datetime
import ipaddress
import os
from pathlib import Path
from typing import Any, NamedTuple

from minifl.errors import InputError

CA, CERTIFICATE, KEY = "ca.pem", "server.pem", "server.key"
DAYS = 365


class Made(NamedTuple):
    """Files of a SuperLink."""
    ca: Path
    certificate: Path
    key: Path


def make(folder: str | Path, hosts: Any) -> Made:
    """An authority and the certificate that it signs for a SuperLink with these names or addresses: Made.

    The authority's private key is not kept: nobody can make a second certificate later.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def name(text):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def certificate(subject, public, issuer, issuer_key, *extensions):
        begin = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=5)    # clocks differ
        builder = x509.CertificateBuilder(issuer, subject, public, x509.random_serial_number(), begin,
                                          begin + datetime.timedelta(days=DAYS))
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(issuer_key, hashes.SHA384())

    def usage(**allowed):
        names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
                 "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
        return x509.KeyUsage(**{n: allowed.get(n, False) for n in names})

    authority, server = _key(), _key()
    ca_name = name("minifl federation")
    ca = certificate(ca_name, authority.public_key(), ca_name, authority,
                     (x509.BasicConstraints(ca=True, path_length=0), True),
                     (usage(key_cert_sign=True, crl_sign=True), True),
                     (x509.SubjectKeyIdentifier.from_public_key(authority.public_key()), False))
    own = certificate(name("minifl SuperLink"), server.public_key(), ca_name, authority,
                      (x509.BasicConstraints(ca=False, path_length=None), True),
                      (usage(digital_signature=True), True),
                      (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
                      (x509.SubjectAlternativeName([_alternative(host) for host in hosts]), False),
                      (x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), False))
    made = Made(*(Path(folder) / file for file in (CA, CERTIFICATE, KEY)))
    _write(made.ca, _pem(ca))
    _write(made.certificate, _pem(own))
    _write(made.key, _private(server, "TraditionalOpenSSL"), secret=True)
    return made


def make_node_key(path: str | Path) -> Path:
    """The key of a node: its private half in `path`, the public one beside it with the ending .pub; returns `path`."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    key, path = _key(), Path(path)
    _write(path, _private(key, "OpenSSH"), secret=True)
    _write(path.with_suffix(".pub"), key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH))
    return path


def _key():
    from cryptography.hazmat.primitives.asymmetric import ec
    return ec.generate_private_key(ec.SECP384R1())


def _private(key, form):
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    return key.private_bytes(Encoding.PEM, getattr(PrivateFormat, form), NoEncryption())


def _pem(certificate):
    from cryptography.hazmat.primitives.serialization import Encoding
    return certificate.public_bytes(Encoding.PEM)


def _alternative(host):
    """The name in a certificate of a host name or an address."""
    from cryptography import x509
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(path, content, secret=False):
    """Write a file that does not exist yet; a secret one is its owner's alone from the first byte on."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if secret else 0o644)
        with os.fdopen(handle, "wb") as f:
            f.write(content)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from error
