"""One party's TOML file: who takes part, under which protocol, and what this party allows."""

from __future__ import annotations

import hashlib
import ipaddress
import socket
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from ..errors import ConfigError, UsageError
from ..ir.types import DType, field, fixed32, fixed64, fixed128
from ..net.curve import is_key
from ..net.shaped import Network
from ..protocols.base import Protocol, available
from ..run.trees import choose_compare
from .keys import Keys, load
from .local import choose_protocol


class Member(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A row of the roster. address: HOST:PORT; party i listens for party j > i on PORT + j (for its bulk on PORT + n + j)."""

    name: str
    address: str
    key: str  # CURVE, Z85
    sign: str  # Ed25519, hexadecimal

    @property
    def host(self) -> str:
        return self.address.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])


class Rows(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What an input must hold."""

    min_rows: int = 0


class Budget(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Of differential privacy, in all: the sums of what runs on these data may spend. Entries with the same `data` share one
    ledger."""

    epsilon: Annotated[float, msgspec.Meta(gt=0)]
    delta: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 1e-9
    data: str = "data"


class Allow(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What this party takes part in: one program, named by the digest of its file (`source`) or of its equations with all
    shapes (`program`), or any program (`program = "any"`, for a party without data).

    outputs: result -> who may learn it; a result that is not listed is refused. Left out only with "any".
    inputs, min_rows: the least number of rows of single inputs, and of all of them. runs: how many times, in all.
    approvals: parties whose signed approval (`mpc approve`) must be there. stored: result of an earlier run -> digest of the
    file of the program that may have left it; by default the program itself. min_group: all that is revealed went through
    `mpc.suppress` with at least so many. dp: all that is revealed went through `mpc.random.private`, and what that costs is
    left in the ledger.
    """

    source: str = ""
    program: str = ""
    outputs: dict[str, list[str]] | None = None
    inputs: dict[str, Rows] = {}
    min_rows: int = 0
    runs: int | None = None
    approvals: list[str] = []
    stored: dict[str, str] = {}
    min_group: Annotated[int, msgspec.Meta(ge=0)] = 0
    dp: Budget | None = None


class Config(msgspec.Struct, forbid_unknown_fields=True, dict=True):
    """See docs/deploy.md for every key."""

    me: str
    keys: str  # file of `mpc keygen`
    protocol: str
    party: list[Member]
    roster: int = 1  # version
    truncation: str = "dither"
    fraction: Annotated[int, msgspec.Meta(ge=1, le=60)] = 16  # bits of fixed point inputs
    bits: Literal[32, 64, 128] = 64  # of all numbers
    primes: list[int] = []  # of the field that all numbers are elements of, in place of fraction and bits
    compare: str = "auto"  # how comparisons trade bytes for rounds on `network`
    network: str = ""  # declared: lan, wan, or RTT,RATE in ms and Mbit/s; nothing is emulated
    encryption: str = "curve"  # or "gcm": CURVE, and large payloads on connections of their own under AES-256-GCM
    listen: str = ""  # address to bind, where it is not that of the roster
    state: str = "state"  # folder of run records and of what is left of run budgets
    connect: float = 60.0  # seconds to wait for the others
    deadline: float = 300.0  # seconds a party may take in a round
    allow: list[Allow] = []
    folder: str = ""  # of the file: set by `read`, no key of it

    @property
    def dtype(self) -> DType:
        """Of real inputs, or of all in a field. Raises UsageError for more fraction bits than the words take, and for primes
        that are none."""
        if self.primes:
            return field(*self.primes)
        return {32: fixed32, 64: fixed64, 128: fixed128}[self.bits](self.fraction)

    @cached_property
    def number(self) -> int:
        """This party's place in the roster."""
        return [m.name for m in self.party].index(self.me)

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(m.name for m in self.party)

    @property
    def scheme(self) -> type[Protocol]:
        return available()[self.protocol]

    @property
    def data_parties(self) -> tuple[str, ...]:
        """Parties that may own inputs and receive outputs: all but a dealer, who comes last."""
        return self.names[: len(self.party) - self.scheme.has_dealer]

    @property
    def declared(self) -> Network | None:
        """The network that all parties plan for."""
        return Network.of(self.network) if self.network else None

    @property
    def encrypted(self) -> bool:
        return self.encryption != "off"

    @property
    def bulk(self) -> bool:
        """Whether large payloads take connections of their own."""
        return self.encryption == "gcm"

    @cached_property
    def secrets(self) -> Keys:
        """This party's own keys. Raises ConfigError if they are not those of the roster."""
        found = load(self.path(self.keys))
        mine = self.party[self.number]
        if (found.public, found.verify) != (mine.key, mine.sign):
            raise ConfigError(f"the keys in {self.keys} are not those of {self.me} in the roster: correct one of them")
        return found

    @cached_property
    def roster_digest(self) -> str:
        """Of names and keys, in order. Addresses may look different from different networks."""
        h = hashlib.blake2b(digest_size=32, person=b"mpc roster v1")
        for part in (str(self.roster), *(f for m in self.party for f in (m.name, m.key, m.sign))):
            h.update(len(part.encode()).to_bytes(4, "little") + part.encode())
        return h.hexdigest()

    def path(self, name: str) -> Path:
        """A path of the file, which starts at its folder."""
        return Path(self.folder) / name

    def endpoint(self, low: int, high: int, bulk: bool = False) -> str:
        """Of the link of two parties, or of its bulk, as this party binds or connects it."""
        listener = self.party[low]
        port = listener.port + high + len(self.party) * bulk
        if self.number == low:
            return f"tcp://{_bracket(self.listens)}:{port}"
        # Calling from its own address lets a listener tell this party's faulty key from a stranger's.
        source = f"{_bracket(self.listens)}:0;" if _numeric(self.listens) else ""
        return f"tcp://{source}{_bracket(listener.host)}:{port}"

    @property
    def listens(self) -> str:
        """The address to bind: what `listen` says, else the roster's if it is numeric, else every interface."""
        own = self.party[self.number].host
        return self.listen or (own if _numeric(own) else "*")

    def hosts(self) -> dict[int, str]:
        """Numeric addresses of parties, as far as their names resolve."""
        found = {}
        for i, member in enumerate(self.party):
            try:
                found[i] = str(socket.getaddrinfo(member.host, None, type=socket.SOCK_STREAM)[0][4][0])
            except OSError:
                continue
        return found


msgspec.json.Decoder(Config)  # what it learns serves TOML too; once, as in run/agreement.py


def read(path: str) -> Config:
    """The configuration in a file. Raises ConfigError with what is wrong in it."""
    file = Path(path)
    try:
        config = msgspec.toml.decode(file.read_bytes(), type=Config)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: {error}") from None
    if config.folder:
        raise ConfigError(f"{path}: Object contains unknown field `folder`")
    config.folder = str(file.resolve().parent)
    _check(config, path)
    return config


def _check(config: Config, path: str) -> None:
    def wrong(what: str) -> ConfigError:
        return ConfigError(f"{path}: {what}")

    names = config.names
    for key in ("name", "key", "sign"):
        values = [getattr(m, key) for m in config.party]
        if len(set(values)) != len(values):
            raise wrong(f"two parties have the same {key}")
    if config.me not in names:
        raise wrong(f"me = {config.me!r} is not in the roster: {', '.join(names)}")
    for m in config.party:
        if not m.host or not m.address.rpartition(":")[2].isdigit() or not 0 < m.port < 65536 - 2 * len(names):
            raise wrong(f"address {m.address!r} of {m.name}: write HOST:PORT")
        if not is_key(m.key):
            raise wrong(f"key of {m.name}: 40 characters, as `mpc keygen` prints them")
        if len(m.sign) != 64 or not all(c in "0123456789abcdef" for c in m.sign):
            raise wrong(f"sign of {m.name}: 64 hexadecimal digits, as `mpc keygen` prints them")
    if config.encryption not in ("curve", "gcm", "off"):
        raise wrong(f'encryption = {config.encryption!r}: "curve", "gcm", or "off" for a test that protects nothing')
    try:
        dealer = available()[config.protocol].has_dealer if config.protocol in available() else False
        choose_protocol(config.protocol, len(names) - dealer)
        choose_compare(config.compare)
        _ = config.declared, config.dtype
    except UsageError as error:
        raise wrong(str(error)) from None
    if config.scheme.trust.startswith("INSECURE"):
        raise wrong(f"protocol {config.protocol!r} protects nothing; it runs on one machine only (mpc run --local)")
    for allow in config.allow:
        if bool(allow.source) == bool(allow.program):
            raise wrong('[[allow]] names one program: source = "blake2b-256:..." or program = "blake2b-256:..."')
        if allow.outputs is None and allow.program != "any":
            raise wrong('[[allow]] lists its outputs: outputs = { mean = ["hospital_a"] }')
        for name in {*(n for to in (allow.outputs or {}).values() for n in to), *allow.approvals} - set(names):
            raise wrong(f"[[allow]] names {name!r}, who is not in the roster: {', '.join(names)}")


def _numeric(host: str) -> bool:
    """Whether this is the address of one interface."""
    try:
        return not ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _bracket(host: str) -> str:
    return f"[{host}]" if ":" in host else host
