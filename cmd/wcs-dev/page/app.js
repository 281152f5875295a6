// The demo: a WCS app with the stock SDK, which shows the state of its session and streams.

import {startLog} from "./log.js";
import {StreamPanel} from "./stream.js";
import {plainWords} from "./words.js";

const {SESSION_STATUS, STREAM_STATUS} = Flashphoner.constants;
const byId = (id) => document.getElementById(id);

const publisher = new StreamPanel({
  panel: byId("publisher"), display: byId("local"), button: byId("publish"), status: byId("status-publish"),
  direction: "out", up: STREAM_STATUS.PUBLISHING, down: STREAM_STATUS.UNPUBLISHED, verb: "Publish",
  start: (stream) => stream.publish(),
});
const player = new StreamPanel({
  panel: byId("player"), display: byId("remote"), button: byId("play"), status: byId("status-play"),
  direction: "in", up: STREAM_STATUS.PLAYING, down: STREAM_STATUS.STOPPED, verb: "Play",
  start: (stream) => stream.play(),
});

let session = null; // set while a session is open or opening
const cameras = document.querySelectorAll("[data-camera]");
let camera = ""; // the sample camera to play as soon as that is possible

let leaving = false; // Disconnect was clicked: the end of streams is not a failure

function show(text) {
  byId("message").textContent = text;
  byId("message").hidden = !text;
}

/** Updates the labels of the buttons, and marks the one to click next. */
function render() {
  const status = session ? session.status() : "DISCONNECTED";
  const open = status === SESSION_STATUS.ESTABLISHED;
  byId("status-session").textContent = status;
  byId("status-session").dataset.state = open ? "up" : session ? "wait" : "";
  byId("connect").textContent = session ? "Disconnect" : "Connect";
  byId("connect").disabled = false;
  byId("available").disabled = !open;
  byId("server").disabled = byId("app-key").disabled = Boolean(session);
  publisher.render(open);
  player.render(open);
  for (const button of cameras) button.disabled = false;

  const next = !session ? "connect" : !publisher.stream ? "publish" : !player.stream ? "play" : "";
  for (const id of ["connect", "publish", "play"]) byId(id).classList.toggle("next", id === next);
}

function connect() {
  show("");
  leaving = false;
  const url = byId("server").value;
  const opened = Flashphoner.createSession({urlServer: url, appKey: byId("app-key").value});
  session = opened;
  const ended = (text) => () => {
    if (session !== opened) return;
    session = null;
    camera = "";
    byId("availability").textContent = "";
    if (text) show(text);
    render();
  };
  let refusal = "";
  opened.on(SESSION_STATUS.CONNECTED, render);
  opened.on(SESSION_STATUS.ESTABLISHED, () => {
    render();
    startCamera();
  });
  opened.on(SESSION_STATUS.WARN, (fail) => {
    refusal = fail?.info ?? "";
    if (refusal) show(rejected(refusal));
  });
  opened.on(SESSION_STATUS.FAILED, ended(`No connection to ${url}. Check that wcs-dev runs, and that the server is the “Gateway for your app” that it prints.`));
  opened.on(SESSION_STATUS.DISCONNECTED, () => ended(refusal && rejected(refusal))());
  render();
}

/** What to do about the gateway's rejection of a session. */
function rejected(info) {
  if (info !== "Application not found") return `The gateway closed the session: ${plainWords(info)}`;
  return `The gateway has no application “${byId("app-key").value}”. Enter one of: ${document.body.dataset.apps}.`;
}

function disconnect() {
  show("");
  leaving = true;
  session.disconnect();
  render();
}

function toggle(panel, options) {
  if (panel.stream) {
    panel.stop();
  } else {
    show("");
    panel.open(session, {name: byId("stream").value, ...options});
  }
  render();
}

function publish() {
  if (!publisher.stream && !navigator.mediaDevices) {
    show("Browsers allow the camera only on https:// pages and on http://localhost. Start with make dev ARGS=--https, or open this page on the machine that runs wcs-dev, at http://localhost with the same port.");
    return;
  }
  toggle(publisher, {constraints: {audio: true, video: {width: 640, height: 480}}});
}

function play() {
  toggle(player, {unmutePlayOnStart: byId("sound").checked});
}

/** Plays a sample camera: after the session is established, and after the stream that is played has ended. */
function playCamera(url) {
  camera = url;
  byId("stream").value = url;
  if (!session) connect(); else if (player.stream) player.stop();
  render();
  startCamera();
}

function startCamera() {
  if (!camera || session?.status() !== SESSION_STATUS.ESTABLISHED || player.stream) return;
  camera = "";
  play();
}

async function askAvailable() {
  const name = byId("stream").value;
  const answer = byId("availability");
  answer.textContent = "…";
  const stream = session.createStream({name});
  try {
    await stream.available();
    answer.textContent = `yes, ${name} is published`;
  } catch {
    answer.textContent = `no: ${plainWords(stream.getInfo()) || "it is not published"}`;
  }
}

for (const panel of [publisher, player]) {
  panel.addEventListener("change", render);
  panel.addEventListener("change", startCamera);
  panel.addEventListener("failed", (e) => leaving || show(e.detail));
}
byId("session").addEventListener("submit", (e) => {
  e.preventDefault();
  if (session) disconnect(); else connect();
});
byId("publish").addEventListener("click", publish);
byId("play").addEventListener("click", play);
for (const button of cameras) button.addEventListener("click", () => playCamera(button.dataset.camera));
byId("available").addEventListener("click", askAvailable);
byId("sound").addEventListener("change", () => player.sound(byId("sound").checked));

// Browsers have no camera API on http pages of other machines, and the SDK assumes that such a browser lacks
// WebRTC. Playing needs no camera, and works with this replacement.
if (!("getUserMedia" in navigator)) {
  navigator.getUserMedia = (_constraints, _ok, failed) => failed(new DOMException("Permission denied", "NotAllowedError"));
}

/** Takes the next step of Connect, Publish and Play: the address of the page has ?start. */
function step() {
  if (!session) return connect();
  if (session.status() !== SESSION_STATUS.ESTABLISHED) return undefined;
  if (!publisher.stream) return publisher.state === STREAM_STATUS.NEW && publish();
  return !player.stream && publisher.state === STREAM_STATUS.PUBLISHING && player.state === STREAM_STATUS.NEW && play();
}

startLog();
await Flashphoner.init();
render();
if (new URLSearchParams(location.search).has("start")) {
  for (const id of ["status-session", "status-publish"]) new MutationObserver(step).observe(byId(id), {childList: true});
  step();
}
