package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"regexp"
	"testing"

	"wcsgateway/e2e/rig"
	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/upstream"
	"wcsgateway/state"
	"wcsgateway/translate/transcript"
)

var updateReference = flag.Bool("update-reference", false, "write cmd/wcs-doctor/reference.json")

// writtenTranscripts passes on the transcripts that a pod writes.
type writtenTranscripts chan []byte

func (w writtenTranscripts) AddTranscript(_ context.Context, _ string, _ int, text []byte) error {
	w <- text
	return nil
}

func (w writtenTranscripts) CountUpstreamUse(context.Context, map[state.UpstreamUse]int64) error {
	return nil
}

// A gateway writes a transcript of a session that it splices to another gateway. It is what wcs-doctor
// compares with the transcripts of WCS servers, so that the comparison is with what this gateway really
// sends.
func TestReferenceOfDoctorIsWhatThisGatewaySends(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		c.Deployment = "other"
		app := c.Apps["defaultApp"]
		app.Rates = apps.RatesClient
		c.Apps["defaultApp"] = app
	})
	written := make(writtenTranscripts, 1)
	front := emptyWorld()
	front.usage = written
	front.start(t, podA, func(c *Config) {
		routed(c, upstream.Route{Default: upstreamAt(t, w.urls[podA]), Transcripts: 1})
	})
	c := front.connect(t, podA)
	everyCommand(t, w, c)
	c.Close()

	text := <-written
	var got transcript.Transcript
	if err := json.Unmarshal(text, &got); err != nil || got.End != transcript.EndSession {
		t.Fatalf("%s: %v", text, err)
	}
	reference, err := json.MarshalIndent(got.Responses(), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	reference = regexp.MustCompile(`"#[0-9a-f]{8}"`).ReplaceAll(reference, []byte(`"#"`))
	reference = append(reference, '\n')
	const file = "../cmd/wcs-doctor/reference.json"
	if *updateReference {
		if err := os.WriteFile(file, reference, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(file); err != nil || !bytes.Equal(want, reference) {
		t.Errorf("%s is not what the gateway sends: go test ./gateway -run ReferenceOfDoctor -update-reference\n%s", file, reference)
	}
}

// everyCommand sends each command that is answered. w serves the client.
func everyCommand(t *testing.T, w *world, c *rig.Client) {
	t.Helper()
	available := func(id, name string) {
		c.Send("availableStream", map[string]any{"mediaSessionId": id, "name": name})
		c.Await("availableStream")
	}
	playAV(t, c, "none", "none")
	c.WantStatus("none", "FAILED", "Session does not exist")
	available("ask-none", "none")
	w.publishUp(t, c, "pub", "s")
	available("ask", "s")
	publishAV(t, c, "second", "s")
	c.WantStatus("second", "FAILED", "Stream name is already in use")
	w.playUp(t, c, "play", "s")
	askSnapshot(c, "snap", "s")
	snapshotOf(t, c, "snap")
	c.Send("sendData", map[string]any{"operationId": "op", "payload": "x"})
	c.Await("DataStatusEvent")
	c.Send("sessionDebug", map[string]any{"command": "start"})
	c.Await("notifySessionDebugEvent")
	c.Send("call", map[string]any{"callId": "call"})
	c.Await("finish")
	c.Send("stopStream", map[string]any{"mediaSessionId": "play", "name": "s", "published": false})
	c.WantStatus("play", "STOPPED", "Stopped by user")
	w.playUp(t, c, "again", "s")
	c.Unpublish("pub", "s")
	c.WantStatus("pub", "UNPUBLISHED", "Stopped by publisher stop")
	c.WantStatus("again", "FAILED", "Stopped by publisher stop")
}
