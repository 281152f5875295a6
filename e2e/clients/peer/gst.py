"""A peer made of GStreamer's webrtcbin.

Usage: gst.py publish|play CODEC[,CODEC] BUNDLE

CODEC is opus, VP8 or H264; a publisher only receives those with the prefix recv:. BUNDLE is the bundle-policy of webrtcbin: none, as by default, or max-bundle.
Writes {"offer": SDP}, reads {"answer": SDP}, then writes {"media": {"audio": n, "video": n}} about twice a
second: the buffers that a player has decoded. Ends with its standard input.
"""

import json
import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

SOURCES = {
    "opus": "audiotestsrc is-live=true ! audioconvert ! opusenc ! rtpopuspay pt=97",
    "VP8": "videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=15/1 ! vp8enc deadline=1 keyframe-max-dist=15 ! rtpvp8pay pt=96",
    "H264": "videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=15/1 ! openh264enc gop-size=15"
    " ! video/x-h264,profile=constrained-baseline ! rtph264pay pt=102 config-interval=-1",
}
CAPS = {
    "opus": "application/x-rtp,media=audio,encoding-name=OPUS,payload=97,clock-rate=48000",
    "VP8": "application/x-rtp,media=video,encoding-name=VP8,payload=96,clock-rate=90000",
    "H264": "application/x-rtp,media=video,encoding-name=H264,payload=102,clock-rate=90000,packetization-mode=(string)1,profile-level-id=(string)42e01f",
}


def say(message):
    print(json.dumps(message), flush=True)


class Peer:
    def __init__(self, verb, codecs, bundle):
        self.decoded = {"audio": 0, "video": 0}
        self.pipeline = Gst.Pipeline()
        self.webrtc = Gst.ElementFactory.make("webrtcbin")
        self.webrtc.set_property("bundle-policy", bundle)
        self.webrtc.set_property("latency", 50)
        self.pipeline.add(self.webrtc)
        self.webrtc.connect("on-negotiation-needed", self.negotiate)
        self.webrtc.connect("pad-added", self.receive)
        for codec in codecs:
            received = codec.removeprefix("recv:")
            if verb == "publish" and received == codec:
                self.send(codec)
            else:
                direction = GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY
                self.webrtc.emit("add-transceiver", direction, Gst.Caps.from_string(CAPS[received]))
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", self.fail)
        self.pipeline.set_state(Gst.State.PLAYING)

    def send(self, codec):
        source = Gst.parse_bin_from_description(f'{SOURCES[codec]} ! capsfilter caps="{CAPS[codec]}"', True)
        self.pipeline.add(source)
        source.link(self.webrtc)

    def negotiate(self, _):
        self.webrtc.emit("create-offer", None, Gst.Promise.new_with_change_func(self.offer))

    def offer(self, promise):
        promise.wait()
        reply = promise.get_reply()  # owns the offer
        offer = reply.get_value("offer")
        self.webrtc.emit("set-local-description", offer, None)
        say({"offer": offer.sdp.as_text()})  # without candidates, as of the WCS SDK

    def answer(self, text):
        _, sdp = GstSdp.SDPMessage.new_from_text(text)
        answer = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, sdp)
        self.webrtc.emit("set-remote-description", answer, None)

    def receive(self, _, pad):
        if pad.get_direction() != Gst.PadDirection.SRC:
            return
        decoder = Gst.ElementFactory.make("decodebin")
        decoder.connect("pad-added", self.count)
        self.pipeline.add(decoder)
        decoder.sync_state_with_parent()
        pad.link(decoder.get_static_pad("sink"))

    def count(self, _, pad):
        kind = pad.get_current_caps().get_structure(0).get_name().split("/")[0]
        sink = Gst.ElementFactory.make("fakesink")
        self.pipeline.add(sink)
        sink.sync_state_with_parent()
        pad.link(sink.get_static_pad("sink"))

        def seen(*_):
            self.decoded[kind] += 1
            return Gst.PadProbeReturn.OK

        pad.add_probe(Gst.PadProbeType.BUFFER, seen)

    def fail(self, _, message):
        say({"error": str(message.parse_error())})


def main():
    verb, codecs, bundle = sys.argv[1:]
    Gst.init(None)
    loop = GLib.MainLoop()
    peer = Peer(verb, codecs.split(","), bundle)

    def report():
        say({"media": peer.decoded})
        return True

    def read():
        for line in sys.stdin:
            GLib.idle_add(peer.answer, json.loads(line)["answer"])
        GLib.idle_add(loop.quit)

    GLib.timeout_add(500, report)
    threading.Thread(target=read, daemon=True).start()
    loop.run()
    peer.pipeline.set_state(Gst.State.NULL)


main()
