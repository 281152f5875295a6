package wcs

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// The samples in testdata/vendor are from the vendor's raw WebSocket API document, with scanning errors
// corrected and session descriptions cut. Every member must be present with the same JSON type; additional
// members are allowed only if docs/wcs-protocol.md names them.

func sample(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "vendor", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func parse(t *testing.T, b []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	return v
}

// compare lists the differences in shape between got and want.
func compare(path string, want, got any, extra []string) (faults []string) {
	if fmt.Sprintf("%T", want) != fmt.Sprintf("%T", got) {
		return []string{fmt.Sprintf("%s: %T, sample has %T", path, got, want)}
	}
	switch w := want.(type) {
	case map[string]any:
		g := got.(map[string]any)
		for k, v := range w {
			if gv, ok := g[k]; ok {
				faults = append(faults, compare(path+"."+k, v, gv, extra)...)
			} else {
				faults = append(faults, path+"."+k+" is missing")
			}
		}
		for k := range g {
			if _, ok := w[k]; !ok && !slices.Contains(extra, path+"."+k) {
				faults = append(faults, path+"."+k+" is not in the sample")
			}
		}
	case []any:
		g := got.([]any)
		if len(w) != len(g) {
			return []string{fmt.Sprintf("%s has %d elements, sample %d", path, len(g), len(w))}
		}
		for i := range w {
			faults = append(faults, compare(fmt.Sprintf("%s[%d]", path, i), w[i], g[i], extra)...)
		}
	}
	return faults
}

func TestNotificationsEqualVendorSamples(t *testing.T) {
	status := func(s Status, published bool) []byte {
		return StreamStatus{
			StreamHead: StreamHead{MediaSessionID: "90e14ad0", Name: "test", Published: published, HasVideo: true, HasAudio: true, Status: s},
			AudioCodec: "opus", VideoCodec: "H264", CreateDate: 1544579813186, MediaProvider: "WebRTC",
			Info: map[Status]string{StatusUnpublished: "Stopped by publisher stop", StatusStopped: "Stopped by user"}[s],
		}.Frame()
	}
	var sent map[string]json.RawMessage
	cmd, err := Decode(sample(t, "client-connection"))
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Bind(&sent); err != nil {
		t.Fatal(err)
	}
	data := func(names ...string) (paths []string) {
		for _, n := range names {
			paths = append(paths, "$.data[0]."+n)
		}
		return paths
	}
	extraStatus := data("mediaType", "audioState", "videoState")
	for _, c := range []struct {
		sample string
		got    []byte
		extra  []string
	}{
		{"getUserData", UserData{Sent: sent, MediaProviders: []string{"WebRTC", "MSE", "WSPlayer"}, AuthToken: "x"}.Frame(), data("appKey")},
		{"getVersion", Version("5.2.0-dev"), nil},
		{"ping", Ping(), nil},
		{"setRemoteSDP", RemoteSDP("id", "v=0\r\n"), nil},
		{"notifyAudioCodec", AudioCodec("id", "opus"), nil},
		{"notifyStreamStatusEvent-publishing", status(StatusPublishing, true), extraStatus},
		{"notifyStreamStatusEvent-unpublished", status(StatusUnpublished, true), extraStatus},
		{"notifyStreamStatusEvent-playing", status(StatusPlaying, false), extraStatus},
		{"notifyStreamStatusEvent-stopped", status(StatusStopped, false), extraStatus},
		{"notifyVideoFormat", VideoFormat{MediaSessionID: "id", Width: 320, Height: 240}.Frames(true)[0],
			data("playerVideoWidth", "playerVideoHeight", "audioState", "videoState")},
		{"availableStream", Available("id", false, "Restricted access"), nil},
	} {
		t.Run(c.sample, func(t *testing.T) {
			for _, fault := range compare("$", parse(t, sample(t, "server-"+c.sample)), parse(t, c.got), c.extra) {
				t.Error(fault)
			}
		})
	}
}

func TestVendorCommandsAreDecoded(t *testing.T) {
	for name, want := range map[Name]StreamRequest{
		CmdPublishStream: {SDP: "v=0\r\n", StreamRequestHead: StreamRequestHead{"90e14ad0-fdb2-11e8-bce2-a3f72476fb49", "test", true, true, "WebRTC"}},
		CmdPlayStream:    {SDP: "v=0\r\n", StreamRequestHead: StreamRequestHead{"22588500-fdb3-11e8-bddf-9b115426f01b", "test", true, true, "WebRTC"}},
	} {
		cmd, err := Decode(sample(t, "client-"+string(name)))
		if err != nil || cmd.Name != name {
			t.Fatalf("%s: decoded as %q, %v", name, cmd.Name, err)
		}
		var got StreamRequest
		if err := cmd.Bind(&got); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
	for name, id := range map[Name]string{
		CmdUnPublishStream: "1d91ae20-fdb3-11e8-bddf-9b115426f01b", CmdStopStream: "22588500-fdb3-11e8-bddf-9b115426f01b",
	} {
		cmd, err := Decode(sample(t, "client-"+string(name)))
		if err != nil {
			t.Fatal(err)
		}
		var got StreamRef
		if err := cmd.Bind(&got); err != nil || got.MediaSessionID != id || got.Name != "test" {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
	pong, err := Decode(sample(t, "client-pong"))
	if err != nil || pong.Name != CmdPong || pong.Arg != nil {
		t.Errorf("pong: got %+v, %v", pong, err)
	}
}
