"""Bytes between parties: channels, their wire format, and the two transports."""

from mpc.net.channel import Channel, Meter, Spec
from mpc.net.memory import MemoryHub
from mpc.net.zeromq import Security, ZeroMQ

__all__ = ["Channel", "MemoryHub", "Meter", "Security", "Spec", "ZeroMQ"]
