import socket

import pytest

from actors.web.server import Address, bind, read_address, write_address
from runtime.errors import ActorUnusable


def test_a_port_that_is_taken_is_one_clear_line():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ActorUnusable, match=f"127.0.0.1 port {port}: another program uses it"):
            bind("127.0.0.1", port, None)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org", "", "127.1"])
def test_only_this_machine_may_be_listened_to(host):
    with pytest.raises(ActorUnusable, match="only this machine"):
        bind(host, 0, None)


def test_localhost_is_this_machine():
    listener, address = bind("localhost", 0, None)
    with listener, socket.create_connection(("127.0.0.1", address.port), 5):
        pass


def test_a_restarted_gateway_takes_the_port_of_its_predecessor():
    first, former = bind("127.0.0.1", 0, None)
    first.close()
    second, address = bind("127.0.0.1", 0, former)
    second.close()
    assert address == former


def test_a_port_that_was_lost_meanwhile_is_replaced():
    held, former = bind("127.0.0.1", 0, None)
    other, address = bind("127.0.0.1", 0, former)
    held.close()
    other.close()
    assert address.port not in {0, former.port}


def test_the_address_is_written_whole(tmp_path):
    assert read_address(tmp_path) is None
    write_address(tmp_path, Address("::1", 81))
    assert read_address(tmp_path) == Address("::1", 81)
    assert [each.name for each in tmp_path.iterdir()] == ["gateway.json"]
    assert Address("::1", 81).url == "http://[::1]:81"
