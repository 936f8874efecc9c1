#!/usr/bin/env python3
"""Enrolls a host as the enrollment document says, with nothing of ours: urllib, PyNaCl, nkeys, nats-py.

    enroll.py STEP STATE [ARGUMENT]

STATE is a file that keeps what a host keeps: its seed, its enrollment, its credentials. Each step prints one JSON object.
"""

import asyncio
import base64
import json
import os
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request

import nacl.public
import nacl.signing
import nats
import nkeys

PATIENCE_S = 30
PREFIX_USER, PREFIX_CURVE, PREFIX_SEED_USER = 20 << 3, 23 << 3, (18 << 3, 20 << 3)


def crc16(data):
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = ((crc << 1) ^ 0x1021) & 0xFFFF if crc & 0x8000 else (crc << 1) & 0xFFFF
    return crc.to_bytes(2, "little")


def text_of(prefix, key):
    body = bytes([prefix]) + key
    return base64.b32encode(body + crc16(body)).rstrip(b"=").decode()


def seed_text(seed):
    first = PREFIX_SEED_USER[0] | (PREFIX_SEED_USER[1] >> 5)
    body = bytes([first, (PREFIX_SEED_USER[1] & 31) << 3]) + seed
    return base64.b32encode(body + crc16(body)).rstrip(b"=").decode()


class Host:
    def __init__(self, path):
        self.path = path
        self.state = json.load(open(path)) if os.path.exists(path) else {}

    def save(self, **changes):
        self.state.update(changes)
        with open(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(self.state, file)

    @property
    def seed(self):
        return bytes.fromhex(self.state["seed"])

    @property
    def public_key(self):
        return text_of(PREFIX_USER, bytes(nacl.signing.SigningKey(self.seed).verify_key))

    @property
    def curve_key(self):
        return text_of(PREFIX_CURVE, bytes(nacl.public.PrivateKey(self.seed).public_key))

    def sign(self, data):
        return nacl.signing.SigningKey(self.seed).sign(data).signature

    def call(self, path, body=None, headers=()):
        context = ssl.create_default_context(cafile=self.state["ca"])
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.state["url"] + path, data=data, headers=dict(headers))
        try:
            with urllib.request.urlopen(request, context=context, timeout=PATIENCE_S) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def enroll(self):
        query = urllib.parse.urlencode({"peel_id": self.state["id"], "public_key": self.public_key})
        status, nonce = self.call("/api/v1/enroll/nonce?" + query)
        if status != 200:
            return status, nonce
        challenge = base64.b64decode(nonce["challenge"], validate=True)
        body = {
            "peel_id": self.state["id"],
            "public_key": self.public_key,
            "curve_public_key": self.curve_key,
            "challenge_id": nonce["challenge_id"],
            "signature": base64.b64encode(self.sign(challenge + self.curve_key.encode())).decode(),
            "hostname": self.state["id"] + ".example",
            "metadata": {"os": "linux"},
        }
        status, answer = self.call("/api/v1/enroll", body, [("Content-Type", "application/json")])
        if status in (200, 201):
            self.save(enrollment=answer["id"])
        return status, answer

    def wait(self):
        """Listens until the state is decided; returns all states that were told."""
        context = ssl.create_default_context(cafile=self.state["ca"])
        url = "{url}/api/v1/enroll/{enrollment}/stream".format(**self.state)
        request = urllib.request.Request(url, headers={"Accept": "text/event-stream"})
        states, event = [], None
        with urllib.request.urlopen(request, context=context, timeout=PATIENCE_S) as stream:
            for line in stream:
                line = line.decode().rstrip("\n")
                if line.startswith("event: "):
                    event = line[len("event: "):]
                elif line.startswith("data: ") and event == "state":
                    states.append(json.loads(line[len("data: "):])["state"])
                    if len(states) == 1:
                        print(json.dumps({"heard": states[0]}), flush=True)
        return states

    def creds(self):
        enrollment = self.state["enrollment"]
        signature = base64.urlsafe_b64encode(self.sign(enrollment.encode())).rstrip(b"=").decode()
        headers = [("Authorization", "Nkey {}:{}".format(self.public_key, signature))]
        status, answer = self.call("/api/v1/enroll/{}/creds".format(enrollment), headers=headers)
        if status == 200:
            jwt = base64.b64decode(answer["creds_data"], validate=True).decode()
            claims = jwt.split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
            assert claims["sub"] == self.public_key, claims
            self.save(jwt=jwt)
        return status, answer

    async def connect(self, **options):
        pair = nkeys.from_seed(seed_text(self.seed).encode())
        jwt = self.state["jwt"]
        return await nats.connect(
            self.state["nats"],
            user_jwt_cb=lambda: bytearray(jwt.encode()),
            signature_cb=lambda nonce: base64.b64encode(pair.sign(nonce.encode())),
            inbox_prefix="_INBOX_" + self.public_key,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            connect_timeout=5,
            **options,
        )

    async def talk(self):
        """Hears itself under its own id, and is refused elsewhere."""
        denied = []

        async def complain(error):
            denied.append(str(error))

        client = await self.connect(error_cb=complain)
        own = "pilothouse.node.v1.{id}.echo".format(**self.state)
        subscription = await client.subscribe(own)
        await client.publish(own, b"x")
        heard = await subscription.next_msg(timeout=5)
        for subject in ("pilothouse.node.v1.other.x", "append.x", "$JS.API.INFO", "pilothouse.admin.v1.x.node.list"):
            await client.publish(subject, b"x")
        await client.flush()
        for _ in range(50):
            if len(denied) >= 4:
                break
            await asyncio.sleep(0.05)
        await client.close()
        return {"heard": heard.subject, "denied": len(denied)}

    async def stay(self):
        """Connected until the server ends it."""
        ended = asyncio.Event()

        async def on_end():
            ended.set()

        client = await self.connect(disconnected_cb=on_end, closed_cb=on_end)
        print(json.dumps({"connected": True}), flush=True)
        await asyncio.wait_for(ended.wait(), PATIENCE_S)
        await client.close()
        return {"ended": True}

    async def login(self):
        try:
            client = await self.connect()
        except Exception as error:
            return {"connected": False, "error": str(error)}
        await client.close()
        return {"connected": True}


def main():
    step, path = sys.argv[1:3]
    host = Host(path)
    if step == "new":
        dev = json.load(open(sys.argv[3]))
        host.save(id=sys.argv[4], seed=os.urandom(32).hex(), url=dev["https_url"], ca=dev["ca_cert"], nats=dev["nats_url"])
        answer = {"public_key": host.public_key}
    elif step in ("enroll", "creds"):
        status, body = getattr(host, step)()
        answer = {"status": status, "body": body}
    elif step == "wait":
        answer = {"states": host.wait()}
    else:
        answer = asyncio.run(getattr(host, step)())
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
