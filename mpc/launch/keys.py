"""Keys of a party: a CURVE pair that is its identity on the wire, an Ed25519 pair that signs what it approves."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

import msgspec
import zmq
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from zmq.utils import z85

from ..errors import ConfigError


class _File(msgspec.Struct, forbid_unknown_fields=True):
    """What a key file holds."""

    curve: str
    sign: str


_file = msgspec.json.Decoder(_File).decode  # once, as in run/agreement.py


@dataclass(frozen=True)
class Keys:
    """Both secret keys of a party. They never leave its host."""

    curve: str  # Z85
    sign: str  # hexadecimal

    def __repr__(self) -> str:
        return "Keys(secret)"

    @property
    def public(self) -> str:
        """The CURVE key for rosters."""
        return zmq.curve_public(self.curve.encode()).decode()

    @property
    def verify(self) -> str:
        """The key for rosters that verifies this party's signatures."""
        return _signer(self.sign).public_key().public_bytes_raw().hex()

    def signature(self, data: bytes) -> str:
        """Hexadecimal."""
        return _signer(self.sign).sign(data).hex()

    def derived(self, purpose: str) -> bytes:
        """32 bytes that nobody else knows, for files of this party."""
        return _expanded(z85.decode(self.curve), purpose)

    def shared(self, peer: str, purpose: str) -> bytes:
        """32 bytes that this party and the owner of the CURVE key `peer` know (X25519), for files from one to the other.
        Raises ConfigError for a key that is none."""
        try:
            theirs = X25519PublicKey.from_public_bytes(z85.decode(peer))
            return _expanded(X25519PrivateKey.from_private_bytes(z85.decode(self.curve)).exchange(theirs), purpose)
        except ValueError:
            raise ConfigError("a key of the roster is no point with which a secret can be shared") from None


def _expanded(secret: bytes, purpose: str) -> bytes:
    return HKDF(SHA256(), 32, None, purpose.encode()).derive(secret)


def _signer(secret: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret))


def signed(data: bytes, signature: str, verify: str) -> bool:
    """Whether `signature` is that of the owner of `verify` under `data`."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(verify)).verify(bytes.fromhex(signature), data)
    except (InvalidSignature, ValueError):
        return False
    return True


def generate(path: Path) -> Keys:
    """New keys in a new file that its owner alone can read. Raises ConfigError if the file exists or cannot be written."""
    _, secret = zmq.curve_keypair()
    keys = Keys(secret.decode(), Ed25519PrivateKey.generate().private_bytes_raw().hex())
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:
            file.write(msgspec.json.encode(_File(keys.curve, keys.sign)) + b"\n")
            file.flush()
            os.fsync(descriptor)
    except FileExistsError:
        raise ConfigError(f"{path} exists. Move it away first, and replace the old keys in every roster") from None
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None
    return keys


def load(path: Path) -> Keys:
    """The keys of a file. Raises ConfigError, also if others can read it."""
    try:
        mode = path.stat().st_mode
        if stat.S_IMODE(mode) & 0o077:
            raise ConfigError(f"others can read {path} (mode {stat.S_IMODE(mode):04o}): make new keys, or chmod 600 {path}")
        found = _file(path.read_bytes())
        keys = Keys(found.curve, found.sign)
        _ = keys.public, keys.verify
    except OSError as error:
        raise ConfigError(f"cannot read the keys in {path}: {error.strerror}. `mpc keygen` makes them") from None
    except (ValueError, zmq.ZMQError):
        raise ConfigError(f"{path} is no key file of `mpc keygen`") from None
    return keys
