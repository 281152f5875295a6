"use strict";
// Loaded after legacy.js: streams whose media passes a relay of the test, and their state.

/** Starts a stream that can only reach LiveKit by a UDP port of 127.0.0.1. Returns its index. */
function startThrough(port, session, verb, options) {
  const sdpHook = ({sdpString}) => sdpString
    .replaceAll(/a=candidate:\S+ \d+ tcp .*\r\n/gi, "")
    .replaceAll(/(a=candidate:\S+ \d+ udp \d+) \S+ \d+ /gi, `$1 127.0.0.1 ${port} `);
  return start(session, verb, {...options, sdpHook});
}

/** The time on the page's clock. */
function now() {
  return performance.now();
}

/** Waits for a video rate with more lost packets and more NACKs than these. Returns it. */
async function lossesOver(index, lostPackets, nack) {
  return until(() => rates(index).findLast((r) => r.lostPackets > lostPackets && r.nack > nack));
}

/** The bit/s of video that a player receives, over 3 s. */
async function receivedRate(index) {
  const read = async () => [...(await connectionOf(index).getStats()).values()].find((s) => s.type === "inbound-rtp" && s.kind === "video");
  const first = await read();
  await pause(3000); // what is measured
  const last = await read();
  return (last.bytesReceived - first.bytesReceived) * 8000 / (last.timestamp - first.timestamp);
}
