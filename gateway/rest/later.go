package rest

import "strings"

// second are WCS's endpoints that this server does not have (integration.md §2.3), with what to use instead.
var second = []struct{ path, instead string }{
	{"/push/", "publish with rtmpUrl, or use LiveKit's egress to RTMP"},
	{"/pull/", "use LiveKit's ingress"},
	{"/rtsp/", "use LiveKit's ingress"},
	{"/mixer/", "use LiveKit's room composite egress"},
	{"/call/", "use LiveKit SIP"},
	{"/cdn/", "pods of a deployment share all streams: there are no routes; LiveKit distributes media"},
	{"/api/", "load tests: use wcs-bench"},
	{"/recorder/find_all", "list the files of the recordings where they are stored"},
	{"/connection/set_log_level", "set log.level"},
}

// later tells what to use instead of an endpoint of WCS's that this server does not have.
func later(path string) (instead string, ok bool) {
	for _, s := range second {
		if strings.HasPrefix(path, prefix+s.path) {
			return s.instead, true
		}
	}
	return "", false
}
