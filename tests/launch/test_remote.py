"""Parties of several hosts, each in a thread of its own: what they agree on before data, and what they refuse."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import zmq

import mpc
from mpc.cli.programs import load_program
from mpc.errors import ConfigError, MPCError, PeerLost, PolicyRefused, ProgramMismatch, ProtocolError, UsageError
from mpc.launch import config as configs
from mpc.launch import keys, policy, record, remote
from mpc.launch.remote import Finished, Seat
from mpc.net import MemoryHub
from mpc.net.transcript import Transcript
from mpc.run.agreement import Terms, exchange

from ..e2e.hosts import STUDY, Host, deploy

A, B = np.array([[1.5, -2.0, 0.25], [0.0, 3.75, -1.0]]), np.array([[123456.5, -1.0, 1.25], [1.0, 4.75, 0.0]])
DATA = {"hospital_a": {"a": A}, "hospital_b": {"b": B}}
CANARY = int(B[0, 0] * 2**16).to_bytes(8, "little")  # as it would travel in the clear
MEAN = np.concatenate([A, B]).mean(axis=0)


class Watched(Transcript):
    """Keeps what is sent, to show that it holds nothing of the data."""

    all: list[Watched]

    def __init__(self, channel: Any) -> None:
        super().__init__(channel)
        self.sent: list[tuple[int, bytes]] = []
        Watched.all.append(self)

    def send(self, peer: int, round: int, arrays: Sequence[np.ndarray]) -> None:
        super().send(peer, round, arrays)
        self.sent += [(round, a.tobytes()) for a in arrays]


@pytest.fixture(autouse=True)
def watched(monkeypatch: pytest.MonkeyPatch) -> list[Watched]:
    Watched.all = []
    monkeypatch.setattr(remote, "Transcript", Watched)
    return Watched.all


def seat(host: Host, data: dict[str, Any] | None = None) -> Seat:
    file = host.folder / "study.py"
    return Seat(
        configs.read(str(host.config)), load_program(str(file)), file, DATA.get(host.name, {}) if data is None else data
    )


def together(hosts: Sequence[Host], **options: Any) -> list[Finished | MPCError]:
    """Every host's party in a thread."""

    def one(host: Host) -> Finished | MPCError:
        try:
            return seat(host).run(**options)
        except MPCError as error:
            return error

    with ThreadPoolExecutor(len(hosts)) as pool:
        return list(pool.map(one, hosts))


def refused(results: Sequence[Finished | MPCError], watched: Sequence[Watched], code: int, *words: str) -> None:
    """Everywhere, for this reason, and nothing of the data was sent: no message of a round, no word of an input."""
    for result in results:
        assert isinstance(result, MPCError) and result.exit_code == code, repr(result)
    assert any(all(word in str(result) for word in words) for result in results), [str(r) for r in results]
    for channel in watched:
        for round, data in channel.sent:
            assert round == 0
            assert CANARY not in data


@pytest.mark.parametrize("encryption", ["curve", "gcm"])
@pytest.mark.parametrize(("protocol", "last"), [("helper", "lab"), ("additive", "dealer")])
def test_a_run(tmp_path: Path, protocol: str, last: str, encryption: str):
    hosts = deploy(tmp_path, ("hospital_a", "hospital_b", last), protocol, encryption=encryption)
    results = together(hosts)
    for result in results[:2]:
        assert isinstance(result, Finished), result
        assert result.outputs["mean"] == pytest.approx(MEAN, abs=1e-3)
    assert isinstance(results[2], Finished) and results[2].outputs == {}
    records = [r.record for r in results if isinstance(r, Finished)]
    for a, b in itertools.permutations(records, 2):
        assert list(record.differences(a, b)) == []
    assert len({r["session"] for r in records}) == 1 and records[0]["encryption"] == encryption


def test_the_same_as_on_one_machine(tmp_path: Path):
    """Integers, where no coin rounds: equal; and the rounds and bytes are those of the rehearsal."""
    program = (
        "import mpc\n@mpc.program\n"
        "def main(a: mpc.Input('hospital_a'), b: mpc.Input('hospital_b')) -> mpc.Output('lab', name='y'):\n"
        "    return (a @ b > 3) * a.sum()\n"
    )
    hosts = deploy(tmp_path, program=program)
    x, y = np.arange(-8, 8).reshape(4, 4), np.arange(16).reshape(4, 4) % 5
    data = {"hospital_a": {"a": x}, "hospital_b": {"b": y}, "lab": {}}

    def one(host: Host) -> Finished:
        return seat(host, data[host.name]).run()

    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(one, hosts))
    here = mpc.Study(load_program(str(hosts[0].folder / "study.py")), {"a": x, "b": y}, protocol="helper").run()
    assert np.array_equal(results[2].outputs["y"], here.result) and np.array_equal(here.result, (x @ y > 3) * x.sum())
    assert results[0].outputs == results[1].outputs == {}
    assert [r.measured.rounds for r in results] == [here.rounds] * 3
    assert sum(sum(r.measured.sent.values()) for r in results) == sum(here.links.values())


@pytest.mark.parametrize(("protocol", "last"), [("helper", "lab"), ("additive", "dealer"), ("replicated", "lab")])
def test_exact_fractions(tmp_path: Path, protocol: str, last: str):
    """In a field of several primes, which all parties have in their configuration."""
    program = (
        "import mpc\n@mpc.program\n"
        "def main(a: mpc.Input('hospital_a'), b: mpc.Input('hospital_b')) -> mpc.Output('hospital_b'):\n"
        "    return {'x': mpc.linalg.solve(a, b), 'det': mpc.linalg.det(a)}\n"
    )
    field = mpc.linalg.exact_field(3, 10**6)
    assert len(field.primes) > 1
    hosts = deploy(tmp_path, ("hospital_a", "hospital_b", last), protocol, program=program)
    for host in hosts:
        host.config.write_text(f"primes = {list(field.primes)}\n" + host.config.read_text())
    a, b = np.array([[999999, -3, 5], [7, 11, 10**6], [0, 2, 1]]), np.array([1, -(10**6), 4])
    data = {"hospital_a": {"a": a}, "hospital_b": {"b": b}, last: {}}

    def one(host: Host) -> Finished | MPCError:
        try:
            return seat(host, data[host.name]).run()
        except MPCError as error:
            return error

    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(one, hosts))
    receiver = results[1]
    assert isinstance(receiver, Finished), receiver
    x = mpc.linalg.fractions(receiver.outputs["x"], field, 3, 10**6)
    assert [sum(int(p) * q for p, q in zip(row, x, strict=True)) for row in a] == b.tolist()
    assert int(receiver.outputs["det"]) == round(np.linalg.det(a))
    assert receiver.record["parameters"]["primes"] == list(field.primes)
    hosts[0].edit(str(field.primes[0]), str(2**61 - 1))
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(one, hosts))
    assert all(isinstance(r, ProgramMismatch) for r in results), results
    assert "primes of the field 2305843009213693951, " in str(results[0])


def test_fields_that_are_none_are_refused(tmp_path: Path):
    host = deploy(tmp_path)[0]
    host.config.write_text("primes = [2305843009213693950]\n" + host.config.read_text())
    with pytest.raises(ConfigError, match=r"different primes from 2\^31 to 2\^63.*2305843009213693950"):
        configs.read(str(host.config))


# ---- agreement before data ----
def line(host: Host) -> None:
    host.edit("axis=0", "axis=1", "study.py")


def comment(host: Host) -> None:
    host.edit("    x =", "    x  =", "study.py")


def network(host: Host) -> None:
    host.config.write_text('network = "wan"\n' + host.config.read_text())


def comparisons(host: Host) -> None:
    host.config.write_text('compare = "wan"\n' + host.config.read_text())


def truncation(host: Host) -> None:
    host.config.write_text('truncation = "nearest"\n' + host.config.read_text())


def fraction(host: Host) -> None:
    host.config.write_text("fraction = 12\n" + host.config.read_text())


def bits(host: Host) -> None:
    host.config.write_text("bits = 128\n" + host.config.read_text())


def roster(host: Host) -> None:
    host.config.write_text("roster = 2\n" + host.config.read_text())


def stranger(host: Host) -> None:
    """Another signing key for the last party than the others have."""
    last = configs.read(str(host.config)).party[2].sign
    host.edit(last, keys.generate(host.folder / "other.key").verify)


def encryption(host: Host) -> None:
    host.config.write_text('encryption = "gcm"\n' + host.config.read_text())


def protocol(host: Host) -> None:
    host.edit('"helper"', '"additive"')


MISMATCHES: list[tuple[Callable[[Host], None], str]] = [
    (line, "line 6: `return x.mean(axis="),
    (comment, "line 5"),
    (truncation, "truncation nearest"),
    (network, "network WAN"),
    (comparisons, "compare wan"),
    (fraction, "fraction bits 12"),
    (bits, "bits of a word 128"),
    (roster, "roster version 2"),
    (stranger, "roster "),
    (encryption, "encryption gcm"),
    (protocol, "protocol additive"),
]


@pytest.mark.parametrize(("change", "words"), MISMATCHES, ids=lambda v: getattr(v, "__name__", ""))
@pytest.mark.parametrize("who", [0, 1])
def test_a_difference_stops_everybody_before_data(
    tmp_path: Path, watched: list[Watched], change: Callable[[Host], None], words: str, who: int
):
    hosts = deploy(tmp_path)
    change(hosts[who])
    start = time.monotonic()
    results = together(hosts)
    assert time.monotonic() - start < 10
    refused(results, watched, 5, words)
    assert any(isinstance(r, ProgramMismatch) and "hospital_a" in str(r) for r in results)


def test_another_version_is_refused(tmp_path: Path, watched: list[Watched], monkeypatch: pytest.MonkeyPatch):
    hosts = deploy(tmp_path)
    versions = itertools.chain(["9.9"], itertools.repeat("0.1.0"))
    monkeypatch.setattr(remote, "version", lambda: next(versions))
    refused(together(hosts), watched, 5, "package version 9.9", "package version 0.1.0")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "second"), list(itertools.combinations([m[0] for m in MISMATCHES], 2)), ids=lambda f: f.__name__
)
def test_two_differences_stop_everybody_too(tmp_path: Path, watched: list[Watched], first: Any, second: Any):
    hosts = deploy(tmp_path)
    first(hosts[0])
    second(hosts[1])
    refused(together(hosts), watched, 5)


def test_equations_that_differ_though_the_text_is_the_same(tmp_path: Path, watched: list[Watched]):
    """A module that the program imports is not compared as text; the equations are."""
    program = (
        "import mpc, importlib.util, pathlib\n"
        "FACTOR = float((pathlib.Path(__file__).parent / 'factor').read_text())\n"
        "@mpc.program\ndef main(a: mpc.Input('hospital_a'), b: mpc.Input('hospital_b')) -> mpc.Output('lab', name='y'):\n"
        "    return (a + b) * FACTOR\n"
    )
    hosts = deploy(tmp_path, program=program)
    for i, host in enumerate(hosts):
        (host.folder / "factor").write_text(str(2 + (i == 1)))
    refused(together(hosts), watched, 5, "runs another program")


# ---- keys ----
def test_a_wrong_key_is_refused_by_everybody(tmp_path: Path, watched: list[Watched]):
    """One party has made new keys and nobody else knows: no connection with it is made, and all are told."""
    hosts = deploy(tmp_path)
    victim = hosts[2]
    old = configs.read(str(victim.config)).party[2]
    (victim.folder / "lab.key").unlink()
    new = keys.generate(victim.folder / "lab.key")
    victim.edit(old.key.replace("\\", "\\\\"), new.public.replace("\\", "\\\\"))
    victim.edit(old.sign, new.verify)
    start = time.monotonic()
    results = together(hosts)
    assert time.monotonic() - start < 5
    refused(results, watched, 6)
    assert all(isinstance(r, ConfigError) for r in results) and watched == []


def test_a_wrong_key_of_a_listener_is_refused(tmp_path: Path, watched: list[Watched]):
    """Party 2 expects another key of party 0 than it has."""
    hosts = deploy(tmp_path)
    first = configs.read(str(hosts[2].config)).party[0]
    other = keys.generate(hosts[2].folder / "other.key")
    hosts[2].edit(first.key, other.public)
    refused(together(hosts), watched, 6, "do not accept each other")


def test_strangers_cannot_keep_a_session_from_starting(tmp_path: Path):
    """Callers with unknown keys, without keys, and silent ones, while a party is still awaited."""
    hosts = deploy(tmp_path)
    base = configs.read(str(hosts[0].config)).party[0].port
    with zmq.Context() as context, ThreadPoolExecutor(3) as pool:
        running = [pool.submit(lambda h=h: seat(h).run()) for h in hosts[:2]]
        callers = []
        for i in range(12):
            caller = context.socket(zmq.PAIR)
            caller.linger = 0
            if i % 2:
                caller.curve_publickey, caller.curve_secretkey = zmq.curve_keypair()
                caller.curve_serverkey = configs.read(str(hosts[0].config)).party[0].key.encode()
            caller.connect(f"tcp://127.0.0.1:{base + 2}")
            with suppress(zmq.Again):  # turned away already
                caller.send(b"let me in", zmq.NOBLOCK)
            callers.append(caller)
        time.sleep(1.5)
        running.append(pool.submit(lambda: seat(hosts[2]).run()))
        assert [sorted(r.result(30).outputs) for r in running] == [["mean"], ["mean"], []]
        for caller in callers:
            caller.close(0)


def test_keys_that_others_can_read_are_refused(tmp_path: Path):
    hosts = deploy(tmp_path)
    (hosts[0].folder / "hospital_a.key").chmod(0o640)
    with pytest.raises(ConfigError, match="others can read"):
        seat(hosts[0]).run()


def test_an_absent_party_is_named(tmp_path: Path):
    hosts = deploy(tmp_path, connect=1.0)
    results = together(hosts[:2])
    assert all(isinstance(r, PeerLost) and r.party == 2 and "party 2 (lab)" in str(r) for r in results)


def test_off_is_spelled_out_and_agreed_on(tmp_path: Path, watched: list[Watched]):
    hosts = deploy(tmp_path, encryption="off")
    results = together(hosts)
    assert all(isinstance(r, Finished) and r.record["encryption"] == "off" for r in results), results
    watched.clear()
    one_sided = deploy(tmp_path / "other", connect=5.0)
    one_sided[1].config.write_text('encryption = "off"\n' + one_sided[1].config.read_text())
    refused(together(one_sided), watched, 6)


# ---- policy ----
def source() -> str:
    return policy.TAG + remote.digest(STUDY)


def allow(**changed: Any) -> str:
    fields = {"source": f'"{source()}"', "outputs": '{ mean = ["hospital_a", "hospital_b"] }'} | changed
    return "[[allow]]\n" + "".join(f"{k} = {v}\n" for k, v in fields.items() if v)


def test_a_policy_that_allows(tmp_path: Path):
    results = together(deploy(tmp_path, allow=allow(min_rows="2", inputs="{ b = { min_rows = 1 } }")))
    assert all(isinstance(r, Finished) for r in results), results


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ("hospital_b refuses", "does not allow this program")),
        (allow(source='"blake2b-256:00"'), ("does not allow this program",)),
        (allow(outputs='{ mean = ["hospital_a"] }'), ("hospital_b may not learn 'mean' (study.py:6)",)),
        (allow(outputs='{ variance = ["hospital_a", "hospital_b"] }'), ("hospital_a may not learn 'mean'",)),
        (allow(min_rows="3"), ("input 'a' of hospital_a has 2 rows, at least 3 are required (study.py:4)",)),
        (allow(inputs="{ b = { min_rows = 5 } }"), ("input 'b' of hospital_b has 2 rows",)),
        (allow(approvals='["hospital_a"]'), ("hospital_a has not approved",)),
        (allow(runs="0"), ("all 0 runs",)),
        (allow(min_group="2"), ("'mean' did not all go through mpc.suppress", "study.py:6")),
        (allow(dp="{ epsilon = 1.0 }"), ("'mean' depends on data without noise",)),
    ],
)
def test_one_policy_refuses_for_everybody(tmp_path: Path, watched: list[Watched], text: str, words: tuple[str, ...]):
    hosts = deploy(tmp_path)
    before = hosts[1].config.read_text()
    hosts[1].config.write_text(before.replace('[[allow]]\nprogram = "any"\n', text))
    results = together(hosts)
    refused(results, watched, 5, *words)
    assert isinstance(results[1], PolicyRefused) and all("hospital_b refuses" in str(r) for r in results)


def test_the_budget_of_runs_is_spent_on_disk(tmp_path: Path, watched: list[Watched]):
    hosts = deploy(tmp_path)
    hosts[0].config.write_text(hosts[0].config.read_text().replace('[[allow]]\nprogram = "any"\n', allow(runs="2")))
    for _ in range(2):
        assert all(isinstance(r, Finished) for r in together(hosts))
    watched.clear()
    refused(together(hosts), watched, 5, "all 2 runs that its policy allows have been made")
    (hosts[0].folder / "state" / "runs.jsonl").write_bytes(b"{not json}\n")
    watched.clear()
    refused(together(hosts), watched, 5, "ledger of runs cannot be read")


def test_approvals(tmp_path: Path, watched: list[Watched]):
    hosts = deploy(tmp_path, allow=allow(approvals='["hospital_a", "hospital_b"]'))
    outputs = {"mean": ("hospital_a", "hospital_b")}

    def sign(i: int, **changed: Any) -> None:
        config = configs.read(str(hosts[i].config))
        fields = {"source": remote.digest((hosts[i].folder / "study.py").read_text()), "outputs": outputs} | changed
        approval = policy.approve(config, **fields)
        policy.approval_file(hosts[i].folder / "study.py", config.me).write_bytes(msgspec.json.encode(approval))

    sign(0)
    refused(together(hosts), watched, 5, "hospital_b has not approved")
    sign(1)
    assert all(isinstance(r, Finished) for r in together(hosts))
    for changed, words in (
        ({"source": "00"}, "another program text"),
        ({"outputs": {"mean": ("hospital_a",)}}, "another outputs"),
        ({"program": "00"}, "another program"),
    ):
        sign(1, **changed)
        watched.clear()
        refused(together(hosts), watched, 5, f"hospital_b has approved {words}")
    sign(1)
    file = policy.approval_file(hosts[1].folder / "study.py", "hospital_b")
    for old, new, words in (("hospital_b", "hospital_a", "not signed"), ("{", "[", "cannot be read")):
        whole = file.read_text()
        file.write_text(whole.replace(old, new))
        watched.clear()
        refused(together(hosts), watched, 5, words)
        file.write_text(whole)


# ---- terms from a peer that does not play by the rules ----
@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"", "cannot be read"),
        (b"\xff" * 100, "cannot be read"),
        (b"\x91" * 5000, "cannot be read"),
        ({"common": [], "source": "", "inputs": {"b": {"shape": [-1], "kind": "int", "fraction": 0}}}, "type of an input"),
        ({"common": [], "source": "", "inputs": {"b": {"shape": [1 << 50], "kind": "int", "fraction": 0}}}, "type of an input"),
        ({"common": [], "source": "", "inputs": {"b": {"shape": [2], "kind": "float", "fraction": 0}}}, "type of an input"),
        *(
            (
                {"common": [], "source": "", "inputs": {"b": {"shape": [2], "kind": kind, "fraction": 0, "ring": ring}}},
                "type of",
            )
            for kind, ring in (("int", "2^65"), ("int", "mod 4294967296"), ("int", "mod 7*"), ("int8", f"mod {2**61 - 1}"))
        ),
        ({"common": [], "source": "", "inputs": {"b": {"shape": [2], "kind": "int", "fraction": 0, "x": 1}}}, "cannot be read"),
    ],
)
def test_terms_that_are_none(payload: Any, words: str):
    hub = MemoryHub(2)
    data = payload if isinstance(payload, bytes) else msgspec.msgpack.encode(payload)
    liar = hub.channel(1)
    liar.send(0, 0, [np.array([len(data)], "<u8")])
    liar.send(0, 0, [np.frombuffer(data, np.uint8)])
    with pytest.raises(ProtocolError, match=words):
        exchange(hub.channel(0), Terms([], "", {}))


def test_terms_of_a_size_that_nobody_has():
    hub = MemoryHub(2)
    hub.channel(1).send(0, 0, [np.array([1 << 40], "<u8")])
    with pytest.raises(ProtocolError, match="at most"):
        exchange(hub.channel(0), Terms([], "", {}))


def test_data_of_others_are_refused_before_anybody_is_called(tmp_path: Path):
    hosts = deploy(tmp_path)
    for data, words in (({"b": B}, "is not hospital_a's"), ({}, "no data for input 'a'")):
        with pytest.raises(UsageError, match=words):
            seat(hosts[0], data)


@pytest.mark.parametrize("count", [3, pytest.param(16, marks=pytest.mark.slow)])
def test_sessions_side_by_side(tmp_path: Path, count: int):
    """Other keys, other data, the same time: each as if alone."""
    sessions = [deploy(tmp_path / str(i)) for i in range(count)]

    def one(place: tuple[int, Host]) -> Finished:
        i, host = place
        data = {"hospital_a": {"a": A + i}, "hospital_b": {"b": B - 2 * i}, "lab": {}}
        return seat(host, data[host.name]).run()

    with ThreadPoolExecutor(3 * count) as pool:
        results = list(pool.map(one, [(i, host) for i, hosts in enumerate(sessions) for host in hosts]))
    for i in range(count):
        expected = np.concatenate([A + i, B - 2 * i]).mean(axis=0)
        for result in results[3 * i : 3 * i + 2]:
            assert result.outputs["mean"] == pytest.approx(expected, abs=1e-3)
    assert len({r.record["session"] for r in results}) == count


def test_an_address_in_use_is_an_error_of_the_configuration(tmp_path: Path):
    hosts = deploy(tmp_path)
    port = configs.read(str(hosts[0].config)).party[0].port
    with socket.create_server(("127.0.0.1", port + 1)), pytest.raises(ConfigError, match="cannot bind"):
        seat(hosts[0]).run()
