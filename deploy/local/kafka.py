"""A real Apache Kafka broker in KRaft mode: one process that is both broker and controller."""

import hashlib
import os
import tempfile
from pathlib import Path
from typing import ClassVar

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from deploy.local.part import Part
from deploy.local.ports import accepts, free_ports
from deploy.local.programs import find
from outlet.local.process import run

_HERE = Path(__file__).parent
_POM = _HERE / "pom.xml"
_QUICK = "-XX:TieredStopAtLevel=1"
"""No code is optimized for long: a broker lives for a test or two, and is up with little more than half the work."""
_CLUSTER_ID = "T3V0bGV0TG9jYWxLYWZrYQ"  # any 16 bytes in base64url


def java_program() -> Path:
    """The path of java: of JAVA_HOME where it is set, else on PATH. Raises `PlatformError`."""
    home = os.environ.get("JAVA_HOME")
    return find("java", package="openjdk-17-jre-headless", also=(Path(home, "bin"),) if home else ())


def maven_program() -> Path:
    """The path of mvn. Raises `PlatformError`."""
    return find("mvn", package="maven")


def jars() -> Path:
    """The folder that holds, or will hold, the jars that pom.xml names; another pom.xml is another folder."""
    return _HERE / ".parts" / f"kafka-{hashlib.sha256(_POM.read_bytes()).hexdigest()[:12]}"


async def fetch_jars() -> None:
    """Fetch the broker's jars from Maven Central, once. Raises `PlatformError` with what mvn printed."""
    folder = jars()
    if folder.exists():
        return
    folder.parent.mkdir(exist_ok=True)
    # Fetched beside its place and moved in whole: an interrupted fetch is no fetch, and of two at once one wins.
    with tempfile.TemporaryDirectory(dir=folder.parent) as fresh:
        fetch = [str(maven_program()), "--batch-mode", "--quiet", "--file", str(_POM)]
        fetch += ["dependency:copy-dependencies", f"-DoutputDirectory={fresh}/jars"]
        await run(fetch, environment=os.environ, within=300)
        _move_in(Path(fresh, "jars"), folder)


def _move_in(fresh: Path, place: Path) -> None:
    try:
        fresh.rename(place)
    except OSError:
        if not place.exists():
            raise


def broker_settings(*, listen: str, advertise: str, controller_port: int) -> dict[str, str]:
    """The broker's configuration, as far as it is the same in a process and in a container.

    `listen` is what the broker binds, `advertise` what clients are told, both ``host:port``.
    """
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"CLIENTS://{listen},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"CLIENTS://{advertise}",
        "inter.broker.listener.name": "CLIENTS",
        "listener.security.protocol.map": "CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT",
        # As in production: a topic that nobody declared is a mistake, not a new topic.
        "auto.create.topics.enable": "false",
        # One broker holds the only copy of everything.
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.num.partitions": "4",
        # Tests wait for these: members join at once, a dead member may be missed within seconds, and a broker that
        # crashed is let in again without waiting out nine seconds of its former life.
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        "broker.heartbeat.interval.ms": "500",
        "broker.session.timeout.ms": "3000",
    }


class Kafka(Part):
    """One Kafka broker of at most 512 MiB of heap, replication factor 1; topics are only made when asked for."""

    name: ClassVar[str] = "kafka"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.port, self._controller_port = free_ports(2)
        self._data = directory / "data"
        self._properties = directory / "server.properties"

    @classmethod
    def require_programs(cls) -> None:
        """java, and mvn for as long as the jars are not there."""
        java_program()
        if not jars().exists():
            maven_program()

    @property
    def bootstrap(self) -> str:
        """``host:port`` for clients."""
        return f"127.0.0.1:{self.port}"

    async def prepare(self) -> None:
        """Fetch the jars once, write the configuration, and format the storage on the first start."""
        await fetch_jars()
        here = self.bootstrap
        settings = broker_settings(listen=here, advertise=here, controller_port=self._controller_port)
        settings["log.dirs"] = str(self._data)
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        if not (self._data / "meta.properties").exists():
            tool = self._java("kafka.tools.StorageTool", _QUICK)
            await run(
                [*tool, "format", "--cluster-id", _CLUSTER_ID, "--config", str(self._properties)],
                environment=self.environment(),
            )

    def command(self) -> list[str]:
        """java with the broker's main class."""
        return [*self._java("kafka.Kafka", "-Xmx512m", _QUICK), str(self._properties)]

    async def answers(self) -> bool:
        """Whether the broker counts itself among the living: it may accept connections before it may hold leaders."""
        if not await accepts(self.port):
            return False  # the client below would log each refusal
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap, request_timeout_ms=5_000)
        try:
            await admin.start()
            return bool((await admin.describe_cluster())["brokers"])
        except KafkaError:
            return False
        finally:
            await admin.close()

    def _java(self, main: str, *options: str) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={_HERE / 'log4j2.properties'}"
        return [str(java_program()), "-XX:+UseSerialGC", *options, logging, "-cp", f"{jars()}/*", main]
