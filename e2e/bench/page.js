"use strict";
// Loaded before both SDKs. Each function is one round: it begins without a session, returns the milliseconds until
// its event, and cleans up before it returns.

let mediaUp = () => {}; // called when a connection can send the first of its tracks

window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(...args) {
    super(...args);
    const check = () => {
      const sending = this.getTransceivers().filter((t) => t.sender.track && t.currentDirection?.startsWith("send"));
      if (this.connectionState === "connected" && this.signalingState === "stable" && sending.length > 0) mediaUp();
    };
    this.addEventListener("connectionstatechange", check);
    this.addEventListener("signalingstatechange", check);
  }
};

const untilMediaUp = () => new Promise((resolve) => { mediaUp = () => resolve(performance.now()); });

/** The time of the first frame that any video below the element shows. */
function untilFirstFrame(element) {
  return new Promise((resolve) => {
    const watched = new Set();
    const observer = new MutationObserver(() => {
      for (const video of element.querySelectorAll("video")) {
        if (watched.has(video)) continue;
        watched.add(video);
        video.requestVideoFrameCallback(() => {
          observer.disconnect();
          resolve(performance.now());
        });
      }
    });
    observer.observe(element, {childList: true, subtree: true});
  });
}

function newDisplay() {
  const display = document.body.appendChild(document.createElement("div"));
  display.style.cssText = "width: 320px; height: 240px";
  return display;
}

let camera; // opened once: its start is no part of the measure, and the same for both SDKs

async function openCamera() {
  camera = await navigator.mediaDevices.getUserMedia({audio: true, video: {width: 640, height: 480}});
  await Flashphoner.init({});
}

function wcsSession(url) {
  const {SESSION_STATUS} = Flashphoner.constants;
  return new Promise((resolve, reject) => {
    Flashphoner.createSession({urlServer: url, appKey: "defaultApp"})
      .on(SESSION_STATUS.ESTABLISHED, resolve).on(SESSION_STATUS.FAILED, () => reject(new Error("session FAILED")));
  });
}

/** Rejects when the stream fails; ends is settled when it has ended. */
function watch(stream) {
  const {STREAM_STATUS} = Flashphoner.constants;
  const on = (...statuses) => new Promise((resolve) => { for (const s of statuses) stream.on(s, resolve); });
  return {
    started: on(STREAM_STATUS.PUBLISHING, STREAM_STATUS.PLAYING),
    failed: on(STREAM_STATUS.FAILED).then(() => { throw new Error(`stream FAILED: ${stream.getInfo()}`); }),
    ended: on(STREAM_STATUS.UNPUBLISHED, STREAM_STATUS.STOPPED),
  };
}

let played = 0; // when the last playStream was sent
const send = WebSocket.prototype.send;
WebSocket.prototype.send = function (data) {
  if (typeof data === "string" && data.includes('"playStream"')) played = performance.now();
  return send.call(this, data);
};

async function wcs(url, options, event, start) {
  const begin = performance.now();
  const session = await wcsSession(url);
  const stream = session.createStream(options);
  const watched = watch(stream);
  start(stream);
  const end = await Promise.race([event, watched.failed]);
  await Promise.race([watched.started, watched.failed]);
  watched.failed.catch(() => {});
  stream.stop();
  await watched.ended;
  session.disconnect();
  options.display.remove();
  return end - begin;
}

function wcsPlay(url, name) {
  const display = newDisplay();
  return wcs(url, {name, display}, untilFirstFrame(display), (stream) => stream.play());
}

/** Counts from playStream: a page has its session when it plays a camera. */
async function wcsCamera(url, name) {
  const begin = performance.now();
  const took = await wcsPlay(url, name);
  return begin + took - played;
}

function wcsPublish(url, name) {
  const options = {name, display: newDisplay(), constraints: {customStream: camera.clone()}};
  return wcs(url, options, untilMediaUp(), (stream) => stream.publish());
}

async function liveKit(url, token, event, start) {
  const begin = performance.now();
  const room = new LivekitClient.Room();
  const started = start(room);
  await room.connect(url, token);
  await started();
  const end = await event;
  await room.disconnect();
  return end - begin;
}

async function liveKitPlay(url, token) {
  const display = newDisplay();
  const took = await liveKit(url, token, untilFirstFrame(display), (room) => {
    room.on(LivekitClient.RoomEvent.TrackSubscribed, (track) => display.append(track.attach()));
    return () => {};
  });
  display.remove();
  return took;
}

function liveKitPublish(url, token) {
  const tracks = camera.clone().getTracks();
  return liveKit(url, token, untilMediaUp(), (room) => () => Promise.all(tracks.map((t) => room.localParticipant.publishTrack(t))));
}
