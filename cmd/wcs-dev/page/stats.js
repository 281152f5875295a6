// Computes the figures of a stream from the statistics of its RTCPeerConnection.

const RTP = {
  out: {type: "outbound-rtp", bytes: "bytesSent", feedback: "remote-inbound-rtp"},
  in: {type: "inbound-rtp", bytes: "bytesReceived", feedback: "inbound-rtp"},
};

/** Turns the byte counters of successive statistics into rates. */
export class Meter {
  constructor(direction) {
    this.rtp = RTP[direction];
    this.last = new Map(); // per RTP stream: [milliseconds, bytes]
  }

  /** The figures since the last call, as text by name; stats is what stream.getStats(…, true) returns. */
  read(stats) {
    const streams = stats[this.rtp.type] ?? [];
    const video = streams.find((s) => s.kind === "video");
    const lost = sum(stats[this.rtp.feedback] ?? [], "packetsLost");
    const pair = (stats["candidate-pair"] ?? []).find((p) => p.nominated && p.state === "succeeded");
    return {
      fps: video?.framesPerSecond === undefined ? "–" : `${Math.round(video.framesPerSecond)} / s`,
      video: this.rate(streams, "video", stats),
      audio: this.rate(streams, "audio", stats),
      lost: lost === undefined ? "–" : `${lost} packets`,
      rtt: pair?.currentRoundTripTime === undefined ? "–" : `${(pair.currentRoundTripTime * 1000).toFixed(0)} ms`,
    };
  }

  rate(streams, kind, stats) {
    let bits = 0;
    let known = false;
    let codec = "";
    for (const s of streams.filter((s) => s.kind === kind)) {
      const [time, count] = this.last.get(s.id) ?? [];
      this.last.set(s.id, [s.timestamp, s[this.rtp.bytes]]);
      codec ||= codecName(stats, s.codecId);
      if (time === undefined || s.timestamp <= time) continue;
      known = true;
      bits += ((s[this.rtp.bytes] - count) * 8) / (s.timestamp - time); // bits per millisecond = kbit/s
    }
    return known ? `${Math.round(bits)} kbit/s ${codec}`.trim() : "–";
  }
}

function codecName(stats, id) {
  const codec = (stats.codec ?? []).find((c) => c.id === id);
  return codec ? codec.mimeType.split("/")[1] : "";
}

function sum(reports, member) {
  const known = reports.filter((r) => r[member] !== undefined);
  return known.length ? known.reduce((n, r) => n + r[member], 0) : undefined;
}
