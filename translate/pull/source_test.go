package pull

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// Names in different spelling, and their canonical form.
func TestNameBecomesCanonical(t *testing.T) {
	for name, want := range map[string]string{
		"rtsp://cam/live":                          "rtsp://cam/live",
		"RTSP://CAM.Example.com.:554/Live":         "rtsp://cam.example.com/Live",
		"rtsp://cam:0554":                          "rtsp://cam",
		"rtsp://cam:":                              "rtsp://cam",
		"rtsps://cam:322/a":                        "rtsps://cam/a",
		"rtsp://cam:8554//two//slashes":            "rtsp://cam:8554//two//slashes",
		"rtsp://u:p@cam/a":                         "rtsp://u:p@cam/a",
		"rtsp://u:p@ss@cam/a":                      "rtsp://u:p%40ss@cam/a",
		"rtsp://u:p%40ss@cam/a":                    "rtsp://u:p%40ss@cam/a",
		"rtsp://%75:p@cam/a":                       "rtsp://u:p@cam/a",
		"rtsp://u@cam/a":                           "rtsp://u@cam/a",
		"rtsp://:p@cam/a":                          "rtsp://:p@cam/a",
		"rtsp://:@cam/a":                           "rtsp://cam/a",
		"rtsp://@cam/a":                            "rtsp://cam/a",
		"rtsp://ip_cam/a":                          "rtsp://ip_cam/a",
		"rtsp://10.0.0.1/a?x=%41&y=%zz":            "rtsp://10.0.0.1/a?x=%41&y=%zz",
		"rtsp://[::FFFF:10.0.0.1]/a":               "rtsp://10.0.0.1/a",
		"rtsp://[2001:DB8:0:0:0:0:0:1]:554/a":      "rtsp://[2001:db8::1]/a",
		"rtsp://cam/user=admin_password=x_1.sdp?y": "rtsp://cam/user=admin_password=x_1.sdp?y",
		"http://cdn":                               "http://cdn/",
		"http://cdn:80/?":                          "http://cdn/",
		"https://cdn/a%2fb.m3u8?t=ü\"":             "https://cdn/a%2fb.m3u8?t=%C3%BC%22",
		"https://cdn/ä.m3u8":                       "https://cdn/%C3%A4.m3u8",
		"https://BÜCHER.example/x":                 "https://xn--bcher-kva.example/x",
		"http://１２７.０.０.１/":                        "http://127.0.0.1/",
		"http://0x7f.example/":                     "http://0x7f.example/",
		"rtmp://cdn/app/key":                       "rtmp://cdn/app/key",
		"rtmps://cdn:443/app/key":                  "rtmps://cdn/app/key",
		"srt://cdn:9000?streamid=#!::r=a":          "", // see the next line
		"srt://cdn:9000?streamid=%23!::r=a":        "srt://cdn:9000?streamid=%23!::r=a",
		"srt://cdn:9000?mode=caller&latency=200":   "srt://cdn:9000?mode=caller&latency=200",
		"vod://a.mp4":                              "vod://a.mp4",
		"VOD-live://my files/ü %2e%2e.mp4":         "vod-live://my files/ü %2e%2e.mp4",
	} {
		if want == "" {
			wantBad(t, name)
			continue
		}
		s, err := Parse(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := s.Reveal(); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
		if again, err := Parse(s.Reveal()); err != nil || again != s {
			t.Errorf("%s is parsed as %#v, %v, and again as %#v", name, s, err, again)
		}
	}
}

func wantBad(t *testing.T, name string) {
	t.Helper()
	s, err := Parse(name)
	var e *Error
	if !errors.As(err, &e) || e.Fault != BadURL || e.Detail == "" {
		t.Errorf("%q is %q, %v", name, s.Reveal(), err)
	}
}

func TestHostileNameIsRefused(t *testing.T) {
	for _, name := range []string{
		"", "cam", "ftp://host/a", "file:///etc/passwd", "concat:a|b", "rtsp:cam", "rtsp:/cam", " rtsp://cam", "rtsp ://cam", "x-rtsp://cam",
		// hosts
		"rtsp://", "rtsp:///a", "rtsp://:554/a", "rtsp://u:p@/a", "rtsp://./a", "rtsp://a..b/", "rtsp://-a/", "rtsp://a-/", "rtsp://a b/",
		"rtsp://*/", "rtsp://a,b/", "rtsp://a|b/", "rtsp://%61/", "rtsp://a%00b/", "rtsp://a%2f@b/%", "rtsp://[::1/a", "rtsp://::1/a", "rtsp://[a]/",
		"rtsp://[fe80::1%25eth0]/a", "rtsp://[::1]x/a", "rtsp://" + strings.Repeat("a", 64) + "/", "rtsp://" + strings.Repeat("a.", 127) + "b/", "rtsp://\u00ad/",
		"http://ﬀ\u3002/..", "http://a\u200bb/", "http://\u202eb/",
		// numbers that are addresses for some programs
		"http://2130706433/", "http://0x7f000001/", "http://0x7f.1/", "http://127.1/", "http://0177.0.0.1/", "http://127.0.0.1.1/", "http://256.0.0.1/",
		"http://1.2.3.0x4/", "http://0x/", "http://１２７.１/", "http://127.0.0.08/",
		// ports
		"rtsp://cam:0/", "rtsp://cam:65536/", "rtsp://cam:-1/", "rtsp://cam:5a/", "rtsp://cam:554:554/", "srt://cam", "srt://cam:",
		// user information that looks like a host, or hides one
		"rtsp://good\\@evil/", "rtsp://good#@evil/", "rtsp://admin:pa#ss@cam/", "rtsp://admin:pa ss@cam/", "rtsp://u%0d%0aX:p@cam/", "rtsp://u:%00@cam/", "rtsp://u:%zz@cam/",
		"rtsp://\"@cam/", "rtsp://<u>@cam/",
		// paths and queries
		"http://cdn/../a", "http://cdn/a/..", "http://cdn/./a", "http://cdn/%2e%2e/a", "http://cdn/a%2F..%2fb", "http://cdn/%", "http://cdn/%0d%0aX: y", "http://cdn/a?b%0Ac",
		"http://cdn/a?b%7f", "http://cdn/a\tb", "http://cdn/a\nb", "http://cdn/a\x00b", "http://cdn/\x7f", "http://cdn/\xff", "http://cdn/\u2028", "http://cdn/\u202e",
		"http://cdn/a#b", "http://cdn/a b", "http://cdn/a\\b",
		"srt://cdn:9000?mode=listener", "srt://cdn:9000?localaddr=10.0.0.1", "srt://cdn:9000?streamid=a&streamid=b", "srt://cdn:9000?a;b",
		// files
		"vod://", "vod:///etc/passwd", "vod://../a", "vod://a/../b", "vod://a/..", "vod://./a", "vod://a//b", "vod://a/", "vod://.hidden", "vod://a\\b", "vod://a?b", "vod://a#b",
		"vod://a\x00.mp4", "vod://a\nb", "vod-live://../a", "vod://\u202e4pm.a",
		"rtsp://cam/" + strings.Repeat("a", MaxName),
	} {
		wantBad(t, name)
	}
}

func TestNameOfOtherSchemeIsNotASource(t *testing.T) {
	for name, want := range map[string]bool{
		"rtsp://": true, "RTSP://x": true, "vod-live://a": true, "srt://": true,
		"": false, "rtsp": false, "rtsp:x": false, "file:///a": false, "wcs://a": false, "a/rtsp://b": false, "://": false, strings.Repeat("a", 100) + "://": false,
	} {
		if got := IsName(name); got != want {
			t.Errorf("IsName(%q) is %v", name, got)
		}
	}
}

func TestSourceIsPrintedWithoutSecrets(t *testing.T) {
	s, err := Parse("rtsp://admin:geheim@cam:8554/geheim?geheim=geheim")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(s), fmt.Sprintf("%v %+v %s", s, s, s), fmt.Sprint([]Source{s}), fmt.Sprintf("%v", struct{ S Source }{s})} {
		if strings.Contains(text, "geheim") || !strings.Contains(text, "rtsp://cam:8554") {
			t.Errorf("printed as %s", text)
		}
	}
	if s.Scheme() != RTSP || s.Host() != "cam" || s.Port() != 8554 || s.File() != "" || s.IsFile() {
		t.Errorf("%#v", s)
	}
	f, err := Parse("vod://a/b.mp4")
	if err != nil || f.Host() != "" || f.Port() != 0 || f.File() != "a/b.mp4" || !f.IsFile() {
		t.Errorf("%#v, %v", f, err)
	}
}

func TestPublicNameHasNoSecrets(t *testing.T) {
	id := "0123456789abcdef0123456789abcdef"
	for name, want := range map[string]string{
		"rtsp://u:p@cam:8554/a/b?c=d":                                "rtsp://cam:8554/a/b#01234567",
		"rtsp://cam":                                                 "rtsp://cam#01234567",
		"rtsp://cam/user=admin_password=x_1.sdp":                     "rtsp://cam/***#01234567",
		"rtsp://cam/a;b=c/d":                                         "rtsp://cam/***/d#01234567",
		"rtmp://cdn/app/" + strings.Repeat("k", 41):                  "rtmp://cdn/app/***#01234567",
		"rtmp://cdn/live/0123456789abcdef":                           "rtmp://cdn/live/***#01234567",
		"http://cdn/550e8400-e29b-41d4-a716-446655440000/a.m3u8":     "http://cdn/***/a.m3u8#01234567",
		"http://cdn/x/aB3dE5gH7iJ9kL1mN3oP.m3u8":                     "http://cdn/x/***#01234567",
		"rtsp://cam/h264Preview_01_main/Streaming/Channels/101":      "rtsp://cam/h264Preview_01_main/Streaming/Channels/101#01234567",
		"http://[2001:db8::1]:8080/a":                                "http://[2001:db8::1]:8080/a#01234567",
		"http://cdn/" + strings.Repeat("abcdefgh/", 100) + "x":       "http://cdn/" + strings.Repeat("abcdefgh/", 13) + "***#01234567",
		"vod://films/a=b.mp4":                                        "vod://films/a=b.mp4#01234567",
		"vod://" + strings.Repeat("ü", 20) + "/" + "x.mp4":           "vod://" + strings.Repeat("ü", 20) + "/" + "x.mp4#01234567",
		"vod://" + strings.Repeat(strings.Repeat("ü/", 9), 10) + "x": "vod://" + strings.Repeat("ü/", 40) + "***#01234567",
	} {
		s, err := Parse(name)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := s.Public(id); got != want {
			t.Errorf("%s is shown as %s, want %s", name, got, want)
		}
	}
}

func FuzzNameIsParsedOnce(f *testing.F) {
	for _, name := range []string{
		"rtsp://u:p@cam:8554/a?b=c", "http://[::ffff:1.2.3.4%25a]/", "vod://a/b", "srt://h:1?streamid=a", "https://BÜCHER.example:443/%2e?\"", "rtsp://a@b@c/",
		"http://１２７.０.０.１/%e4", "rtmp://h/../a", "vod-live://../x", "http://h:080/;a=b?c#d",
	} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		s, err := Parse(name)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Fault != BadURL {
				t.Fatalf("%q: %v", name, err)
			}
			return
		}
		if !IsName(name) {
			t.Fatalf("%q is a source and no name of one", name)
		}
		if again, err := Parse(s.Reveal()); len(s.Reveal()) <= MaxName && (err != nil || again != s) {
			t.Fatalf("%q is %#v; %q is %#v, %v", name, s, s.Reveal(), again, err)
		}
		public := s.Public("0123456789abcdef0123456789abcdef")
		if host, _, _ := strings.Cut(strings.TrimPrefix(public, s.Scheme()+"://"), "/"); strings.Contains(host, "@") && !s.IsFile() ||
			strings.ContainsAny(public, "?\\") || len(public) > 600 {
			t.Fatalf("%q is shown as %q", name, public)
		}
		if strings.ContainsFunc(s.Reveal(), func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Fatalf("%q has control characters", s.Reveal())
		}
		for part := range strings.SplitSeq(s.File(), "/") {
			if part == ".." || part == "" && s.IsFile() {
				t.Fatalf("%q leaves the folder", name)
			}
		}
	})
}
