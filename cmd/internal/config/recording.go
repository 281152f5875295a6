package config

import (
	"strings"
	"time"
	"unicode"

	"wcsgateway/gateway/rtmp"
	"wcsgateway/translate"
)

// Recording configures recordings and RTMP output by LiveKit's egress service. The egress service's own
// configuration says where files are uploaded to.
type Recording struct {
	// Prefix of all file names: a directory of the egress service, such as `/out/`, or a key prefix in the
	// store that it uploads to, such as `records/`. Clients do not see it.
	Prefix string `koanf:"prefix"`
	// Name of a file without the extension `.mp4`.
	//
	// Elements: `{streamName}`, `{mediaSessionId}`, `{sessionId}` (base64url), `{login}` (if the client has
	// none, the random end of the session id), `{startTime}` (`20060102-150405`, UTC), `{startTimeMillis}`,
	// `{audioCodec}`, `{videoCodec}`. In a value, characters other than letters, digits and `-_.@+` are
	// replaced by `_`, and a value is cut to 128 bytes.
	Template string `koanf:"template"`
	// Time that the egress service has to answer. LiveKit does not answer when no egress service is running.
	StartTimeout time.Duration `koanf:"startTimeout" rule:"min=100ms"`
}

// Values of Application.Record.
const (
	RecordForbidden = "forbidden"
	RecordAllowed   = "allowed"
)

func (r Recording) validate(f *faults) {
	bad := func(c rune) bool { return unicode.IsControl(c) || strings.ContainsRune(`{}\`, c) }
	f.check(!strings.ContainsFunc(r.Prefix, bad), "recording.prefix", "must not have braces, backslashes or control characters")
	f.failed("recording.template", translate.FileTemplate(r.Template).Validate())
}

func (a Application) validateEgress(f *faults, at string) {
	f.each(at+".rtmpHosts", a.RTMPHosts, func(host string) error { return errorOf(rtmp.Parse([]string{host})) })
	f.check(len(a.RTMPHosts) > 0 || !a.RTMPFullURL, at+".rtmpFullUrl", "needs rtmpHosts, which is empty")
}
