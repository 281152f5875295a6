
"use strict";
// The embedded player: one session and one stream of the WCS protocol (docs/wcs-protocol.md), without an SDK.

/** Times in milliseconds. */
const FIRST_RETRY = 1000;
const LONGEST_RETRY = 15000;
const SILENCE = 30000; // the gateway sends a ping every 5 s
const STEADY = 10000; // a stream that played for so long starts the back-off from the beginning

const element = (id) => document.getElementById(id);
const [video, stage, toggle, sound, full] = ["video", "stage", "toggle", "sound", "full"].map(element);

// As in WCS, a plus sign is no space, and the name may contain a # that is not escaped.
const query = new URLSearchParams((location.search + location.hash).replaceAll("+", "%2B"));
const isOn = (name) => ["", "1", "true", "yes", "on"].includes((query.get(name) ?? "no").toLowerCase());
const name = query.get("streamName") ?? "";
/** A camera, server or file that is played by its address (docs/pull.md). The page shows neither its password nor its query. */
const source = /^[a-z-]+:\/\//i.test(name);
const shown = source ? name.replace(/\?.*/s, "").replace(/:\/\/[^/]*@/, "://") : name;
const settings = document.documentElement.dataset;

/** Texts of the gateway that another attempt can change (docs/app-developers.md#error-texts-cause-and-remedy). */
const passing = {
  "Session does not exist": () => `“${shown}” is not published at the moment.`,
  "Stream not found": () => `“${shown}” is not published at the moment.`,
  "Publish stream is not ready": () => `“${shown}” is starting.`,
  "Stopped by publisher stop": () => `“${shown}” has ended.`,
  "Stream failed": () => `“${shown}” was interrupted.`,
  "Failed by RTP activity": () => `“${shown}” sends neither picture nor sound.`,
  "Failed by ICE timeout": () => "No media connection. A firewall may block it.",
  "Failed by ICE keep alive": () => "The media connection was lost.",
  "Failed by error": () => "The server has a fault.",
  "Failed to add stream to proxy": () => "The server is not available.",
  "Server is recovering from an outage, try again later": () => "The server is recovering from an outage.",
  "Application server is not available": () => "The application server is not available.",
  "Application server is busy": () => "The application server is busy.",
  "Upstream server is not available": () => "The server is not available.",
  "Upstream server is busy": () => "The server is busy.",
  "Failed to connect to rtsp stream": () => `“${shown}” cannot be reached.`,
  "Failed to connect to origin stream": () => `“${shown}” cannot be reached.`,
  "Rtsp stream not found": () => `“${shown}” is not there at the moment.`,
  "RtspAgent shutdown": () => `“${shown}” was interrupted.`,
  "No worker for pulled streams is available": () => "The server is busy.",
  "Too many pulled streams": () => "The server is busy.",
  "Too many requests at a time": () => "The server is busy.",
  "Too many sessions of this application": () => "The server is full.",
};

/** Texts after which the page does not try again until the user does. All others are a backend's. */
const lasting = {
  "Restricted access": () => `This page may not play “${shown}”.`,
  "No common codecs": () => "This browser cannot play the format of the stream.",
  "Stopped by rest /terminate": () => `“${shown}” was ended by its operator.`,
  "Requested stream shutdown": () => `“${shown}” was ended by its operator.`,
  "Application not found": () => "The server does not serve this player.",
  "Origin not allowed": () => "The server does not accept this page.",
};

if (source) passing["Requested stream shutdown"] = passing["RtspAgent shutdown"]; // the server was lost; no operator ended it

let session = null; // {socket, ready, heard}: the socket; null: none
let stream = null; // {id, connection, media, since}: the attempt or the stream that plays; null: none
let wanted = false; // the user or the address asked to play, and nothing has ended that
let failures = 0; // attempts in a row that failed
let timer = 0; // of the next attempt

function show(state, text, line = "") {
  document.body.dataset.state = state;
  element("status").textContent = text;
  element("line").textContent = line;
  const active = state !== "idle" && state !== "failed";
  toggle.textContent = active ? "Stop" : "Play";
  toggle.classList.toggle("first", !active);
}

function showSound() {
  sound.textContent = video.muted ? "Turn sound on" : "Mute";
  sound.classList.toggle("first", video.muted && stream !== null && !isOn("mute"));
}

/** The address of the gateway; "": none that this page may connect to. */
function server() {
  const own = `${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}/`;
  const asked = query.get("urlServer");
  if (!asked) return own;
  let url;
  try {
    url = new URL(asked);
  } catch {
    return "";
  }
  if (url.protocol !== "ws:" && url.protocol !== "wss:") return "";
  if (url.host === location.host) return own;
  const others = settings.servers.split(" ").filter(Boolean).map((other) => new URL(other).origin);
  return others.includes(url.origin) ? url.href : "";
}

function send(message, arg) {
  if (session?.socket.readyState === WebSocket.OPEN) session.socket.send(JSON.stringify({message, data: [arg]}));
}

/** Begins to play. The browser decides before there is media whether it allows that, and with sound. */
async function start() {
  if (!name) return show("failed", "The address of this player names no stream (streamName).");
  if (!server()) return show("failed", "This player may not connect to the server that its address names (urlServer).");
  wanted = true;
  failures = 0;
  show("connecting", "Connecting …");
  attempt();
  return unlock(null);
}

/** Starts the element with a source, null before there is one: with sound, else muted, else playing ends. */
async function unlock(media) {
  if (media) video.srcObject = media; // which has its tracks: Chromium does not start an element whose stream has none
  for (;;) {
    try {
      await video.play();
      return;
    } catch (e) {
      if (e.name !== "NotAllowedError" || video.srcObject !== media) return; // another source has replaced this one
      if (video.muted) {
        video.muted = isOn("mute");
        return stop("idle", "The browser does not play before you press Play.");
      }
      video.muted = true;
      showSound();
    }
  }
}

function stop(state, text) {
  wanted = false;
  clearTimeout(timer);
  dropStream();
  dropSession();
  show(state, text);
  showSound();
}

function attempt() {
  clearTimeout(timer);
  if (session?.ready) return play();
  return connect();
}

/** Tries again after a pause that doubles with each failure in a row, less or plus a quarter. */
function retry(text) {
  dropStream();
  const pause = Math.min(FIRST_RETRY * 2 ** failures++, LONGEST_RETRY) * (0.75 + Math.random() / 2);
  const seconds = Math.max(1, Math.round(pause / 1000));
  show("waiting", `${text} The next attempt is in ${seconds} ${seconds === 1 ? "second" : "seconds"}.`);
  clearTimeout(timer);
  timer = setTimeout(attempt, pause);
}

/** Handles a text of the gateway that ends a stream or a session. */
function ended(info) {
  if (info === "Stopped by publisher stop" && /^vod/i.test(name)) return stop("idle", `“${shown}” has ended.`);
  if (Object.hasOwn(passing, info)) return retry(passing[info]());
  return stop("failed", Object.hasOwn(lasting, info) ? lasting[info]() : `The server refuses to play “${shown}”: ${info || "no reason given"}.`);
}

function connect() {
  dropSession();
  let socket;
  try {
    socket = new WebSocket(server());
  } catch {
    return stop("failed", "The browser does not allow a connection from this page to the server.");
  }
  const own = {socket, ready: false, heard: 0};
  session = own;
  const lost = () => {
    if (session !== own) return;
    dropSession();
    retry(own.ready ? "The connection to the server was lost." : "The server cannot be reached.");
  };
  const listen = () => {
    clearTimeout(own.heard);
    own.heard = setTimeout(lost, SILENCE);
  };
  listen();
  socket.onopen = () => send("connection", {
    appKey: settings.appKey, mediaProviders: ["WebRTC"], clientVersion: "2.0", clientOSVersion: navigator.platform, clientBrowserVersion: navigator.userAgent,
  });
  socket.onclose = lost;
  socket.onmessage = ({data}) => {
    if (session !== own || typeof data !== "string") return;
    listen();
    const {message, data: args} = JSON.parse(data);
    receive(message, args);
  };
  return undefined;
}

function receive(message, args) {
  const arg = args[0];
  switch (message) {
    case "ping":
      return send("pong", null);
    case "getUserData":
      session.ready = true;
      return stream ? undefined : play();
    case "setRemoteSDP":
      return stream?.id === arg ? answer(stream, args[1]) : undefined;
    case "notifyStreamStatusEvent":
      return stream?.id === arg.mediaSessionId ? onStatus(arg.status, arg.info) : undefined;
    case "fail":
      if (arg.apiMethod === "StreamStatusEvent") return stream?.id === arg.id ? onStatus(arg.status, arg.info) : undefined;
      if (session.ready) return undefined; // about something else; the session goes on
      dropSession();
      return ended(arg.info);
    default:
      return undefined;
  }
}

function onStatus(status, info) {
  if (status === "PLAYING") {
    stream.since = performance.now();
    show("playing", `Playing ${shown}.`, shown);
    return showSound();
  }
  if (status !== "FAILED" && status !== "STOPPED") return undefined;
  if (stream.since && performance.now() - stream.since > STEADY) failures = 0;
  dropStream();
  return ended(info);
}

async function play() {
  const connection = new RTCPeerConnection({iceServers: []});
  const own = {id: id(), connection, media: new MediaStream(), since: 0};
  dropStream();
  stream = own;
  connection.ontrack = (e) => own.media.addTrack(e.track);
  connection.onconnectionstatechange = () => {
    if (connection.connectionState === "failed") failed(own, "The media connection was lost.");
  };
  try {
    for (const kind of ["audio", "video"]) connection.addTransceiver(kind, {direction: "recvonly"});
    await connection.setLocalDescription();
  } catch {
    return failed(own, "The browser cannot receive the stream.");
  }
  if (stream !== own) return undefined;
  return send("playStream", {
    mediaSessionId: own.id, name, published: false, hasVideo: true, hasAudio: true, status: "PENDING", record: false, width: 0, height: 0,
    mediaProvider: "WebRTC", sdp: connection.localDescription.sdp, bitrate: 0, minBitrate: 0, maxBitrate: 0, quality: 0,
    constraints: {audio: true, video: true},
  });
}

async function answer(own, sdp) {
  try {
    await own.connection.setRemoteDescription({type: "answer", sdp});
  } catch {
    return failed(own, "The browser rejects the answer of the server.");
  }
  return stream === own ? unlock(own.media) : undefined;
}

/** Ends an attempt that the gateway counts as running. */
function failed(own, text) {
  if (stream !== own) return;
  send("stopStream", {mediaSessionId: own.id, name, published: false, hasVideo: true, hasAudio: true, status: "PENDING", record: false});
  retry(text);
}

/** A UUID; crypto.randomUUID exists only on https pages. */
function id() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = bytes[6] & 15 | 64;
  bytes[8] = bytes[8] & 63 | 128;
  const hex = Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

function dropStream() {
  stream?.connection.close();
  stream = null;
  video.srcObject = null;
}

function dropSession() {
  const old = session;
  session = null;
  if (!old) return;
  clearTimeout(old.heard);
  old.socket.close();
}

toggle.onclick = () => (wanted ? stop("idle", "Stopped.") : start());
element("over").onclick = () => wanted || start();
sound.onclick = () => {
  video.muted = !video.muted;
  showSound();
};
full.hidden = !document.fullscreenEnabled && !video.webkitEnterFullscreen;
full.onclick = () => {
  if (document.fullscreenElement) document.exitFullscreen();
  else if (document.fullscreenEnabled) stage.requestFullscreen();
  else video.webkitEnterFullscreen(); // iPhones
};
addEventListener("online", () => document.body.dataset.state === "waiting" && attempt());

for (const [side, limit] of [["width", "maxWidth"], ["height", "maxHeight"]]) {
  const pixels = Number.parseInt(query.get(side), 10);
  if (pixels > 0 && pixels < 10000) element("stage").style[limit] = `${pixels}px`;
}
video.muted = isOn("mute");
video.setAttribute("aria-label", name ? `Stream ${shown}` : "Stream");
element("name").textContent = name ? `Player of ${shown}` : "Player";
document.title = element("name").textContent;
show("idle", name ? `Press Play to watch “${shown}”.` : "");
showSound();
if (isOn("autoplay")) start();
