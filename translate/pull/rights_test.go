package pull

import "testing"

func TestSourcesWithOtherRightsAreOthers(t *testing.T) {
	keys, err := NewKeys("0123456789abcdef0123456789abcdef", "test")
	if err != nil {
		t.Fatal(err)
	}
	src, ids := parse(t, "rtsp://user:password@cam.example.com/live"), make(map[string]bool)
	for _, v := range src.Variants() {
		id := keys.ID(v)
		if ids[id] {
			t.Errorf("id of %+v is that of another", v.Rights())
		}
		ids[id] = true
		if got, err := keys.Open(id, keys.Seal(v)); err != nil || got != v {
			t.Errorf("opened with %+v, %v, want %+v", got.Rights(), err, v.Rights())
		}
	}
	if _, err := keys.Open(keys.ID(src), keys.Seal(src.With(Rights{Transcode: true}))); err == nil {
		t.Error("a source opens under the id of other rights")
	}
	if id := keys.ID(src.With(Rights{})); id != keys.ID(src) {
		t.Error("no rights are not those of a source that is parsed")
	}
}

func TestPatternForEveryHostAllowsPublicSourcesOnly(t *testing.T) {
	for _, tt := range []struct {
		patterns []string
		name     string
		public   bool
	}{
		{[]string{"rtsp://*"}, "rtsp://10.1.2.3/live", true},
		{[]string{"rtsp://*:*"}, "rtsp://cam.corp.example:8554/live", true},
		{[]string{"rtsp://*", "rtsp://10.1.0.0/16"}, "rtsp://10.1.2.3/live", false},
		{[]string{"rtsp://*.corp.example", "rtsp://*"}, "rtsp://cam.corp.example/live", false},
		{[]string{"rtsp://cam"}, "rtsp://cam/live", false},
		{[]string{"vod://*"}, "vod://film.mp4", false},
	} {
		allow, err := ParseAllow(tt.patterns)
		if err != nil {
			t.Fatal(err)
		}
		if public, err := allow.Allowed(parse(t, tt.name)); err != nil || public != tt.public {
			t.Errorf("%v, %s: public %v, %v", tt.patterns, tt.name, public, err)
		}
	}
}
