"""A local Hub for each test, and the clients set to talk to it; tests of any folder may ask for it."""

import socket
import threading
from collections.abc import Iterator

import huggingface_hub
import pytest
from huggingface_hub import constants

from tests.helpers.local_hub.server import Hub, HubServer


@pytest.fixture(scope="session")
def hub_server(hub_socket: socket.socket) -> Iterator[HubServer]:
    """The server behind `HF_ENDPOINT`, for the whole session: the clients know no other address."""
    server = HubServer(hub_socket)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def hub(hub_server: HubServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """An empty Hub; the user of this machine is `tester` and may write."""
    hub_server.hub = Hub(hub_server.hub.endpoint)
    # The suite is offline; huggingface_hub looks at its constant at each request, peft at the environment.
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_TOKEN", "hf_write")
    yield hub_server.hub
    huggingface_hub.close_session()
