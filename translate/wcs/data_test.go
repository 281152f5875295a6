package wcs

import (
	"encoding/json"
	"regexp"
	"testing"
)

func TestPayloadsAreForwardedByteForByte(t *testing.T) {
	payload := json.RawMessage(`{ "n": 1.50,	"text":"<é\u0041&>" }`)
	for name, c := range map[string]struct {
		frame []byte
		want  string
	}{
		"stream data":              {StreamData("id<1>", payload), `{"message":"notifyStreamEvent","data":[{"mediaSessionId":"id<1>","type":"data","payload":` + string(payload) + `}]}`},
		"stream data without any":  {StreamData("id", nil), `{"message":"notifyStreamEvent","data":[{"mediaSessionId":"id","type":"data","payload":null}]}`},
		"session data":             {OnData("op", payload), `{"message":"OnDataEvent","data":[{"operationId":"op","payload":` + string(payload) + `}]}`},
		"session data without op":  {OnData("", payload), `{"message":"OnDataEvent","data":[{"operationId":"new","payload":` + string(payload) + `}]}`},
		"session data without any": {OnData("", nil), `{"message":"OnDataEvent","data":[{"operationId":"new","payload":null}]}`},
		"mute":                     {StreamMute("id", EventAudioMuted, "s"), `{"message":"notifyStreamEvent","data":[{"mediaSessionId":"id","type":"audioMuted","payload":{"streamName":"s"}}]}`},
	} {
		if got := withoutNewID(c.frame); got != c.want || !json.Valid(c.frame) {
			t.Errorf("%s: %s, want %s", name, c.frame, c.want)
		}
	}
}

// withoutNewID replaces an operationId that newOperationID made.
func withoutNewID(frame []byte) string {
	return regexp.MustCompile(`"operationId":"[0-9a-f]{16}"`).ReplaceAllString(string(frame), `"operationId":"new"`)
}
