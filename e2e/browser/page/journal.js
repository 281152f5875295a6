"use strict";
// Loaded before a client SDK: keeps a journal of the page's sockets, lets tests wait for its entries, and
// records the peer connections, even those that the SDK hides.

const journal = [];
const waiting = new Set();

/** Adds an entry to the journal. */
function note(entry) {
  journal.push({at: performance.now(), ...entry});
  for (const check of [...waiting]) check();
}

/** Waits for the first truthy result of find, which is called now and after each new entry. */
function until(find) {
  return new Promise((resolve, reject) => {
    const check = () => {
      try {
        const found = find();
        if (!found) return;
        resolve(found);
      } catch (error) {
        reject(error);
      }
      waiting.delete(check);
    };
    waiting.add(check);
    check();
  });
}

window.WebSocket = class extends WebSocket {
  constructor(...args) {
    super(...args);
    this.addEventListener("message", (e) => keep("in", e.data));
  }
  send(data) {
    keep("out", data);
    super.send(data);
  }
};

/** Records a WCS message; other protocols send binary messages. */
function keep(way, data) {
  if (typeof data !== "string") return;
  const {message, data: args} = JSON.parse(data);
  if (message !== "ping" && message !== "pong") note({way, message, args});
}

const connections = [];

window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(...args) {
    super(...args);
    connections.push(this);
  }
  setRemoteDescription(description) {
    this.appliedSDP = description.sdp;
    return super.setRemoteDescription(description);
  }
};

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** The media that a peer connection receives, according to its statistics. */
async function received(connection) {
  const figures = {frames: 0, samples: 0, energy: 0, audioPackets: 0, videoCodec: "", audioCodec: ""};
  const stats = await connection.getStats();
  for (const s of stats.values()) {
    if (s.type !== "inbound-rtp") continue;
    const codec = stats.get(s.codecId)?.mimeType.split("/")[1] ?? "";
    if (s.kind === "video") {
      figures.frames += s.framesDecoded;
      figures.videoCodec ||= codec;
    } else {
      figures.samples += s.totalSamplesReceived ?? 0;
      figures.energy += s.totalAudioEnergy ?? 0;
      figures.audioPackets += s.packetsReceived;
      figures.audioCodec ||= codec;
    }
  }
  return figures;
}

let lastFigures = null; // for the failure message of a test whose media does not arrive

/**
 * Waits until an element plays media that comes in: 10 more video frames are decoded than at first and the picture has the
 * wanted size, if want.width is given; 25 more audio packets have come, and they are sounds.
 * @param want {audio, video: boolean, width, height: number}
 */
async function awaitMedia(connection, element, want) {
  const first = await received(connection());
  for (;;) {
    const now = await received(connection());
    const video = element();
    const tracks = video?.srcObject;
    const result = {
      ...now,
      width: video?.videoWidth ?? 0,
      height: video?.videoHeight ?? 0,
      audioTracks: tracks?.getAudioTracks().length ?? 0,
      videoTracks: tracks?.getVideoTracks().length ?? 0,
    };
    lastFigures = {want, first, ...result};
    const picture = now.frames >= first.frames + 10 && result.width > 0 &&
      (!want.width || (result.width === want.width && result.height === want.height));
    const sound = now.audioPackets >= first.audioPackets + 25 && now.samples > first.samples && now.energy > 0;
    if ((!want.video || picture) && (!want.audio || sound)) return result;
    await pause(50);
  }
}

/** The protocol of the candidate pair that a connection uses. */
async function pairProtocol(connection) {
  const stats = await connection.getStats();
  const all = [...stats.values()];
  const pairs = all.filter((s) => s.type === "transport").map((s) => stats.get(s.selectedCandidatePairId));
  return [...new Set(pairs.map((p) => `${stats.get(p.localCandidateId).protocol} ${stats.get(p.remoteCandidateId).protocol}`))].join(", ");
}

/** The journal as text, for failure messages: without SDP and tokens. */
function journalText() {
  const line = (e) => JSON.stringify(e, (key, value) => {
    if (typeof value === "string" && value.startsWith("v=0")) return "v=0…";
    return key === "authToken" ? "…" : value;
  });
  return [JSON.stringify(lastFigures), ...journal.map((e) => line(e).slice(0, 600))].join("\n");
}
