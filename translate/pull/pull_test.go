package pull

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

const testSecret = "0123456789abcdef0123456789abcdef"

func newKeys(t *testing.T, secret, deployment string) *Keys {
	t.Helper()
	k, err := NewKeys(secret, deployment)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func parse(t *testing.T, name string) Source {
	t.Helper()
	s, err := Parse(name)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return s
}

func TestIDTellsCredentialsApart(t *testing.T) {
	k := newKeys(t, testSecret, "d")
	ids := make(map[string]string)
	for _, name := range []string{"rtsp://cam/a", "rtsp://u:p@cam/a", "rtsp://u:q@cam/a", "rtsp://cam/a?t=1", "rtsps://cam/a", "rtsp://cam/b", "vod://a", "vod-live://a"} {
		id := k.ID(parse(t, name))
		if len(id) != idLength || ids[id] != "" {
			t.Errorf("%s and %s have the id %s", name, ids[id], id)
		}
		ids[id] = name
	}
	s := parse(t, "rtsp://u:p@cam/a")
	if k.ID(s) != k.ID(parse(t, "RTSP://u:%70@CAM:554/a")) {
		t.Error("two spellings have two ids")
	}
	for _, other := range []*Keys{newKeys(t, testSecret+"x", "d"), newKeys(t, testSecret, "e")} {
		if other.ID(s) == k.ID(s) {
			t.Error("the id does not depend on secret and deployment")
		}
	}
}

func TestSealedSourceIsOpenedWithItsKeysOnly(t *testing.T) {
	k, s := newKeys(t, testSecret, "d"), parse(t, "rtsp://admin:geheim@cam/geheim?geheim")
	sealed, id := k.Seal(s), k.ID(s)
	if bytes.Contains(sealed, []byte("geheim")) || bytes.Equal(sealed, k.Seal(s)) {
		t.Error("the source is not sealed")
	}
	if got, err := k.Open(id, sealed); err != nil || got != s {
		t.Errorf("opened as %v, %v", got, err)
	}
	damaged := slices.Clone(sealed)
	damaged[len(damaged)-1] ^= 1
	for what, open := range map[string]func() (Source, error){
		"another id":         func() (Source, error) { return k.Open(k.ID(parse(t, "rtsp://cam")), sealed) },
		"another secret":     func() (Source, error) { return newKeys(t, testSecret+"x", "d").Open(id, sealed) },
		"another deployment": func() (Source, error) { return newKeys(t, testSecret, "e").Open(id, sealed) },
		"damage":             func() (Source, error) { return k.Open(id, damaged) },
		"nothing":            func() (Source, error) { return k.Open(id, nil) },
	} {
		if got, err := open(); !errors.Is(err, errSealed) || got != (Source{}) {
			t.Errorf("with %s: %v, %v", what, got, err)
		}
	}
	if _, err := NewKeys(testSecret[1:], "d"); !errors.Is(err, ErrSecret) {
		t.Errorf("short secret: %v", err)
	}
}

func TestIdentityIsParsedAsWritten(t *testing.T) {
	id := newKeys(t, testSecret, "d").ID(parse(t, "rtsp://cam"))
	got, generation, ok := ParseIdentity(Identity(id, 1788000000000))
	if got != id || generation != 1788000000000 || !ok {
		t.Errorf("%s, %d, %v", got, generation, ok)
	}
	for _, bad := range []string{"", "wcs-pull-", "wcs-pull-" + id, "wcs-pull-" + id + "-", "wcs-pull-" + id + "-x", "wcs-pull-0-1", id + "-1", "wcs:d:pub:0011223344556677"} {
		if got, generation, ok := ParseIdentity(bad); ok {
			t.Errorf("%q is parsed as %s, %d", bad, got, generation)
		}
	}
	if room := Room("d", id); !IsRoom(room) || IsRoom("wcs.x") {
		t.Error(room)
	}
}

func TestPatternAllowsItsSourcesOnly(t *testing.T) {
	for pattern, names := range map[string]struct{ allowed, forbidden []string }{
		"rtsp://cam.example.com": {
			[]string{"rtsp://CAM.example.com/a", "rtsp://u:p@cam.example.com:554/"},
			[]string{"rtsps://cam.example.com/", "rtsp://cam.example.com:8554/", "rtsp://x.cam.example.com/", "rtsp://cam.example.com@evil/", "rtsp://cam.example.com.evil/", "vod://cam.example.com"},
		},
		"rtsp://*.Example.com:*": {
			[]string{"rtsp://a.example.com/", "rtsp://a.b.example.com:1/"},
			[]string{"rtsp://example.com/", "rtsp://evilexample.com/", "rtsp://a.example.com.evil/"},
		},
		"https://*:8443":              {[]string{"https://a:8443/", "https://[::1]:8443/"}, []string{"https://a/", "http://a:8443/"}},
		"rtsp://10.1.0.0/16":          {[]string{"rtsp://10.1.2.3/", "rtsp://[::ffff:10.1.2.3]/"}, []string{"rtsp://10.2.0.1/", "rtsp://name/", "rtsp://10.1.2.3:8554/"}},
		"rtsp://10.1.0.0/16:8554":     {[]string{"rtsp://10.1.2.3:8554/"}, []string{"rtsp://10.1.2.3/"}},
		"http://[fd00::]/8:*":         {[]string{"http://[fd00::1]:81/"}, []string{"http://[fe80::1]/", "http://10.0.0.1/"}},
		"http://[fd00::1]:81":         {[]string{"http://[FD00:0::1]:81/"}, []string{"http://[fd00::1]/"}},
		"http://bücher.example":       {[]string{"http://xn--bcher-kva.example/"}, nil},
		"srt://cdn:*":                 {[]string{"srt://cdn:9000"}, []string{"srt://other:9000"}},
		"vod://*":                     {[]string{"vod://a", "vod://a/b"}, []string{"vod-live://a", "rtsp://a"}},
		"vod-live://films/action/*":   {[]string{"vod-live://films/action/a"}, []string{"vod-live://films/a", "vod-live://films/actions/a", "vod://films/action/a"}},
		"rtsp://cam.example.com:0554": {[]string{"rtsp://cam.example.com"}, nil},
	} {
		allow, err := ParseAllow([]string{pattern})
		if err != nil {
			t.Errorf("%s: %v", pattern, err)
			continue
		}
		for _, name := range names.allowed {
			if _, err := allow.Allowed(parse(t, name)); err != nil {
				t.Errorf("%s forbids %s: %v", pattern, name, err)
			}
		}
		for _, name := range names.forbidden {
			_, err := allow.Allowed(parse(t, name))
			if f, _ := FaultOf(err); f != Forbidden {
				t.Errorf("%s allows %s", pattern, name)
			}
		}
	}
	_, err := Allow(nil).Allowed(parse(t, "rtsp://cam"))
	if f, _ := FaultOf(err); f != Forbidden {
		t.Error("no pattern allows something")
	}
}

func TestWrongPatternIsNamed(t *testing.T) {
	for _, pattern := range []string{
		"", "*", "cam", "rtsp:", "rtsp://", "ftp://a", "RTSP://a", "*://a", "rtsp://a/", "rtsp://a/b", "rtsp://u@a", "rtsp://a:0", "rtsp://a:x", "rtsp://a:1-2", "rtsp://*a", "rtsp://a.*",
		"rtsp://*.", "rtsp://*.*", "rtsp://10.1.2.3/16", "rtsp://10.1.0.0/33", "rtsp://fd00::/8", "rtsp://2130706433", "rtsp://[::1", "srt://a", "srt://*",
		"vod://", "vod://a", "vod://a*", "vod://../*", "vod:///*", "vod://.a/*", "vod://*/*x",
	} {
		_, err := ParseAllow([]string{"vod://*", pattern})
		if !errors.Is(err, ErrPattern) || !strings.Contains(err.Error(), fmt.Sprintf("[1] %q", pattern)) {
			t.Errorf("%q: %v", pattern, err)
		}
	}
}

func TestEachFaultHasTexts(t *testing.T) {
	for _, f := range Faults {
		for _, scheme := range Schemes {
			if f.Info(scheme) == "" {
				t.Errorf("%s of %s has no text", f, scheme)
			}
		}
	}
	if len(infos) != len(Faults) {
		t.Errorf("%d texts for %d faults", len(infos), len(Faults))
	}
	for f, want := range map[Fault]string{NotFound: "Rtsp stream not found", "unknown": "Failed by error"} {
		if got := f.Info(RTSPS); got != want {
			t.Errorf("%s is %q", f, got)
		}
	}
}

func TestFaultOfForeignErrorShowsNothingOfIt(t *testing.T) {
	if f, detail := FaultOf(errors.New("geheim")); f != Internal || detail != "" {
		t.Errorf("%s %s", f, detail)
	}
	if f, detail := FaultOf(fmt.Errorf("run: %w", &Error{NotFound, "404"})); f != NotFound || detail != "404" {
		t.Errorf("%s %s", f, detail)
	}
	if f, _ := FaultOf(nil); f != "" {
		t.Error(f)
	}
}

// The table of docs/pull.md has every fault and its texts.
func TestDocumentListsEveryFault(t *testing.T) {
	text, err := os.ReadFile("../../docs/pull.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range Faults {
		row := fmt.Sprintf("| `%s` | `%s` | `%s` |\n", f.Info(RTSP), f.Info(VOD), f.Info(HTTP))
		if !slices.ContainsFunc(strings.SplitAfter(string(text), "\n"), func(line string) bool {
			return strings.HasPrefix(line, "| `"+string(f)+"` |") && strings.HasSuffix(line, row)
		}) {
			t.Errorf("docs/pull.md has no row of %s that ends with %s", f, row)
		}
	}
}
