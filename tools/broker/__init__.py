"""Operating an MQTT broker for a fleet: Mosquitto with certificates, access rules, limits, backups and a status."""

from tools.broker.backup import back_up, restore
from tools.broker.folder import BrokerFolder
from tools.broker.settings import BrokerSettings
from tools.broker.status import BrokerStatus, query_status

__all__ = ["BrokerFolder", "BrokerSettings", "BrokerStatus", "back_up", "query_status", "restore"]
