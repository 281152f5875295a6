"""A peer made of aiortc, with its own test tracks: silence, and an even picture.

Usage: aiortc_peer.py publish|play KIND[,KIND]

KIND is audio or video. Writes {"offer": SDP}, reads {"answer": SDP}, then writes
{"media": {"audio": n, "video": n}} about twice a second: the frames that a player has decoded. Ends with its
standard input.
"""

import asyncio
import json
import sys

import aioice.ice
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError, VideoStreamTrack

TRACKS = {"audio": AudioStreamTrack, "video": VideoStreamTrack}
aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]  # aioice leaves it out
decoded = {"audio": 0, "video": 0}


def say(message):
    print(json.dumps(message), flush=True)


async def count(track):
    try:
        while True:
            await track.recv()
            decoded[track.kind] += 1
    except MediaStreamError:
        pass  # the track has ended


async def report():
    while True:
        say({"media": decoded})
        await asyncio.sleep(0.5)


async def main():
    verb, kinds = sys.argv[1:]
    pc = RTCPeerConnection()
    tasks = []
    pc.on("track", lambda track: tasks.append(asyncio.ensure_future(count(track))))
    for kind in kinds.split(","):
        if verb == "publish":
            pc.addTrack(TRACKS[kind]())
        else:
            pc.addTransceiver(kind, direction="recvonly")
    await pc.setLocalDescription(await pc.createOffer())
    say({"offer": pc.localDescription.sdp})
    loop = asyncio.get_running_loop()
    line = await loop.run_in_executor(None, sys.stdin.readline)
    await pc.setRemoteDescription(RTCSessionDescription(sdp=json.loads(line)["answer"], type="answer"))
    tasks.append(asyncio.ensure_future(report()))
    await loop.run_in_executor(None, sys.stdin.read)
    for task in tasks:
        task.cancel()
    await pc.close()


asyncio.run(main())
