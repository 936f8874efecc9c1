"""Follows the fleet with the example of docs/events.md and prints a JSON line for each fact.

Usage: subscriber.py SERVER CREDS SUBSCRIBER COUNT [HANG]. SUBSCRIBER is what `pilothouse subscriber add -o json` printed; ends
after COUNT facts, or never goes on with the HANG-th one, which is then given out and not acknowledged.
"""

import asyncio
import json
import sys

from example import follow


async def main():
    server, creds, subscriber, count = sys.argv[1:5]
    hang = int(sys.argv[5]) if len(sys.argv) > 5 else 0
    seen = 0

    async def handle(position, subject, fact):
        nonlocal seen
        seen += 1
        print(json.dumps({"position": position, "subject": subject, "time": fact["time"]}), flush=True)
        if seen == hang:
            await asyncio.Event().wait()
        return seen < int(count)

    with open(subscriber) as file:
        await follow(server, creds, json.load(file), handle)


asyncio.run(main())
