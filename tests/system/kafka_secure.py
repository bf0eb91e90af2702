"""A broker that wants SASL over TLS and has rules about who may do what, as in production.

    with SecureBroker() as kafka:
        kafka.secure    # host:port that wants a name and a password (PLAIN) over TLS
        kafka.brokers   # host:port without either, for its administrator
        kafka.ca        # file of the certificate to trust
"""

import subprocess

import kafka_broker


class SecureBroker(kafka_broker.KafkaBroker):
    def __init__(self, user="kappa", password="secret"):
        super().__init__()
        secure_port = kafka_broker._free_ports(1)[0]
        self.secure = f"127.0.0.1:{secure_port}"
        self.ca = self.directory / "ca.pem"
        key = self.directory / "key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=kafka",
                        "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", self.ca],
                       check=True, capture_output=True, timeout=300)
        store = self.directory / "store.pem"
        store.write_text(key.read_text() + self.ca.read_text())
        self._write_properties({
            "listeners": f"PLAINTEXT://{self.brokers},SECURE://{self.secure},"
                         f"CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://{self.brokers},SECURE://{self.secure}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL,CONTROLLER:PLAINTEXT",
            "listener.name.secure.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.secure.plain.sasl.jaas.config":
                f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}="{password}";',
            "listener.name.secure.ssl.keystore.type": "PEM",
            "listener.name.secure.ssl.keystore.location": str(store),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        })

    def acls(self, path):
        """Writes kafka-acls.sh of Kafka's distribution to this path."""
        java = " ".join(f"'{word}'" for word in (*self.java, kafka_broker.BRIEF, "-Xmx128m"))
        path.write_text(f"#!/bin/sh\nexec {java} org.apache.kafka.tools.AclCommand \"$@\"\n")
        path.chmod(0o755)
