package wcs

import (
	"encoding/json"
	"testing"
)

func TestPayloadsAreForwardedByteForByte(t *testing.T) {
	payload := json.RawMessage(`{ "n": 1.50,	"text":"<é\u0041&>" }`)
	for name, c := range map[string]struct {
		frame []byte
		want  string
	}{
		"stream data":              {StreamData("id<1>", payload), `{"message":"notifyStreamEvent","data":[{"mediaSessionId":"id\u003c1\u003e","type":"data","payload":` + string(payload) + `}]}`},
		"stream data without any":  {StreamData("id", nil), `{"message":"notifyStreamEvent","data":[{"mediaSessionId":"id","type":"data","payload":null}]}`},
		"session data":             {OnData("op", payload), `{"message":"OnDataEvent","data":[{"operationId":"op","payload":` + string(payload) + `}]}`},
		"session data without op":  {OnData("", payload), `{"message":"OnDataEvent","data":[{"payload":` + string(payload) + `}]}`},
		"session data without any": {OnData("", nil), `{"message":"OnDataEvent","data":[{"payload":null}]}`},
		"mute":                     {StreamMute("id", EventAudioMuted, "s"), `{"message":"notifyStreamEvent","data":[{"mediaSessionId":"id","type":"audioMuted","payload":{"streamName":"s"}}]}`},
	} {
		if string(c.frame) != c.want || !json.Valid(c.frame) {
			t.Errorf("%s: %s, want %s", name, c.frame, c.want)
		}
	}
}
