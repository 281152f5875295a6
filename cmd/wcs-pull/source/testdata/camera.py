# A camera of GStreamer's RTSP server, with a user and password: H264 with a key frame each second, and G.711.
# It prints its port when it listens.
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer

Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service("0")
LAUNCH = (
    "( videotestsrc is-live=true ! video/x-raw,width=320,height=180,framerate=25/1 ! openh264enc gop-size=25 bitrate=500000 "
    "! h264parse ! rtph264pay name=pay0 pt=96 config-interval=1 "
    "audiotestsrc is-live=true samplesperbuffer=160 ! audio/x-raw,rate=8000,channels=1 ! mulawenc ! rtppcmupay name=pay1 pt=0 )"
)
auth = GstRtspServer.RTSPAuth()
auth.set_supported_methods(2)  # Digest
token = GstRtspServer.RTSPToken()
token.set_string("media.factory.role", "user")
auth.add_digest("admin", "secret", token)
server.set_auth(auth)
permissions = GstRtspServer.RTSPPermissions()
permissions.add_permission_for_role("user", "media.factory.access", True)
permissions.add_permission_for_role("user", "media.factory.construct", True)
for path in ("/cam", "/tcp"):  # the second one has no UDP
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(LAUNCH)
    factory.set_shared(True)
    factory.set_permissions(permissions)
    if path == "/tcp":
        factory.set_protocols(GstRtsp.RTSPLowerTrans.TCP)
    server.get_mount_points().add_factory(path, factory)
server.attach(None)
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
