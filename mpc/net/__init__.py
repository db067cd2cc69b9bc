"""Bytes between parties: channels, their wire format, and the two transports."""

from mpc.net.channel import Channel, Meter, Spec
from mpc.net.memory import MemoryHub
from mpc.net.shaped import LAN, WAN, Network, Shaped
from mpc.net.zeromq import Security, ZeroMQ

__all__ = ["LAN", "WAN", "Channel", "MemoryHub", "Meter", "Network", "Security", "Shaped", "Spec", "ZeroMQ"]
