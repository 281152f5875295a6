package config

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"wcsgateway/gateway/rtmp"
	"wcsgateway/translate"
)

// Recording is how LiveKit's egress service is told to record, and to send to RTMP servers. Where the files are uploaded to is the egress service's own
// configuration.
type Recording struct {
	// What the names of all files begin with: a directory of the egress service, as `/out/`, or the beginning of the keys in the store that it
	// uploads to, as `records/`. Clients are not told of it.
	Prefix string `koanf:"prefix"`
	// Name of a file, without the extension `.mp4`: `{streamName}`, `{mediaSessionId}`, `{sessionId}` (base64url), `{login}` (without one the random
	// end of the session id), `{startTime}` (`20060102-150405`, UTC), `{startTimeMillis}`, `{audioCodec}`, `{videoCodec}`. What is not a letter, a digit or one of `-_.@+`
	// in a value becomes `_`, and a value is cut to 128 bytes.
	Template string `koanf:"template"`
	// How long the egress service has to answer. Without one, LiveKit never answers.
	StartTimeout time.Duration `koanf:"startTimeout"`
}

// Values of Application.Record.
const (
	RecordForbidden = "forbidden"
	RecordAllowed   = "allowed"
)

func (r Recording) validate(f *faults) {
	bad := func(c rune) bool { return unicode.IsControl(c) || strings.ContainsRune(`{}\`, c) }
	f.check(!strings.ContainsFunc(r.Prefix, bad), "recording.prefix", "must not have braces, backslashes or control characters")
	if err := translate.FileTemplate(r.Template).Validate(); err != nil {
		f.add("recording.template", "%v", err)
	}
	f.atLeast("recording.startTimeout", r.StartTimeout, minTimeout)
}

func (a Application) validateEgress(f *faults, at string) {
	if a.Record != "" { // forbidden
		f.oneOf(at+".record", a.Record, RecordForbidden, RecordAllowed)
	}
	for i, host := range a.RTMPHosts {
		if _, err := rtmp.Parse([]string{host}); err != nil {
			f.add(fmt.Sprintf("%s.rtmpHosts[%d]", at, i), "%v", err)
		}
	}
	f.check(len(a.RTMPHosts) > 0 || !a.RTMPFullURL, at+".rtmpFullUrl", "is for streams that rtmpHosts allow, and it allows none")
}
