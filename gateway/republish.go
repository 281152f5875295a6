package gateway

import (
	"strings"

	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// rtmpPrefix is what WCS puts before a stream's name at the RTMP server, unless it was told that addresses are complete.
const rtmpPrefix = "rtmp_"

// rtmpAddress is where a stream is sent to: as in WCS, its name is added to the client's address.
func (st *stream) rtmpAddress() string {
	if st.sess.app.RTMPFullURL {
		return st.req.RTMPURL
	}
	return strings.TrimRight(st.req.RTMPURL, "/") + "/" + rtmpPrefix + translate.FileNamePart(st.name)
}

// checkRTMP refuses an address that the application is not allowed.
func (s *session) checkRTMP(req wcs.StreamRequest) error {
	if req.RTMPURL == "" || s.app.RTMPHosts.Allow(req.RTMPURL) {
		return nil
	}
	s.g.metrics.egresses.WithLabelValues(string(translate.EgressRTMP), "forbidden").Inc()
	return errRTMP
}
