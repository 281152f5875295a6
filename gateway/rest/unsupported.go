package rest

import "strings"

// unsupportedPaths lists WCS's endpoints that this server does not have, with alternatives.
var unsupportedPaths = []struct{ path, instead string }{
	{"/push/", "LiveKit's egress to RTMP has no mute and no sounds"},
	{"/pull/", "sources are pulled with pull.secret and pull.allow of an application, and by LiveKit's ingress"},
	{"/rtsp/", "sources are pulled with pull.secret and pull.allow of an application"},
	{"/mixer/", "use LiveKit's room composite egress"},
	{"/call/", "use LiveKit SIP"},
	{"/cdn/", "all pods of a deployment share all streams, and LiveKit distributes media: routes are not needed"},
	{"/api/", "for load tests, use wcs-bench"},
	{"/connection/set_log_level", "set log.level"},
}

// unsupported returns the alternative for a path of WCS that this server does not have.
func unsupported(path string) (instead string, ok bool) {
	for _, s := range unsupportedPaths {
		if strings.HasPrefix(path, prefix+s.path) {
			return s.instead, true
		}
	}
	return "", false
}
