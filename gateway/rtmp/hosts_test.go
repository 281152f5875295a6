package rtmp

import (
	"errors"
	"strings"
	"testing"
)

func TestAllowMatchesHostAndPort(t *testing.T) {
	for _, c := range []struct {
		patterns string // separated by spaces
		yes, no  []string
	}{
		{"", nil, []string{"rtmp://a.example/live"}},
		{"live.example.com", []string{
			"rtmp://live.example.com/app/key", "rtmps://LIVE.example.com:1935/app", "rtmp://live.example.com", "rtmp://live.example.com/app?k=v&x=%20",
		}, []string{
			"rtmp://example.com/app", "rtmp://x.live.example.com/app", "rtmp://live.example.com.evil.example/app", "http://live.example.com/app",
			"rtmp://live.example.com@evil.example/app", "rtmp://user:pass@live.example.com/app", "rtmp://evil.example:80@live.example.com/app",
			`rtmp://evil.example\@live.example.com/app`, "rtmp://live.example.com /app", "rtmp://live.example.com/app live=1", "rtmp://evil.example#live.example.com/app",
			"rtmp://live.example.com./app", "rtmp:///live.example.com/app", "rtmp:live.example.com/app", "//live.example.com/app", "live.example.com/app",
			"rtmp://live.example.com/app\n", "rtmp://live.example.com/\"app", "RTMP://live.example.com/app", "rtmp://live.example.com:0/app", "rtmp://live.example.com:/app",
			"rtmp://live.example.com/" + strings.Repeat("x", 1024), "twitch://live.example.com", "rtmp://live.example.cоm/app", // a Cyrillic o
		}},
		{"live.example.com:1935 b.example:443", []string{"rtmp://live.example.com/app", "rtmp://live.example.com:1935/app", "rtmps://b.example/app"},
			[]string{"rtmps://live.example.com/app", "rtmp://live.example.com:80/app", "rtmp://b.example/app"}},
		{"*.example.com", []string{"rtmp://a.example.com/x", "rtmp://a.b.example.com/x"}, []string{"rtmp://example.com/x", "rtmp://badexample.com/x", "rtmp://.example.com/x"}},
		{"*", []string{"rtmp://127.0.0.1/x", "rtmp://[::1]:1935/x"}, []string{"file:///etc/passwd", "rtmp://"}},
		{"*:1935", []string{"rtmp://a.example/x"}, []string{"rtmp://a.example:22/x"}},
		{"[::1]", []string{"rtmp://[::1]/x"}, []string{"rtmp://[::2]/x"}},
	} {
		hosts, err := Parse(strings.Fields(c.patterns))
		if err != nil {
			t.Fatal(err)
		}
		for _, url := range c.yes {
			if !hosts.Allow(url) {
				t.Errorf("[%s] rejects %q", c.patterns, url)
			}
		}
		for _, url := range c.no {
			if hosts.Allow(url) {
				t.Errorf("[%s] allows %q", c.patterns, url)
			}
		}
	}
}

func TestParseRejectsBadPatterns(t *testing.T) {
	for _, bad := range []string{"", "rtmp://a.example", "a.example/live", "*a.example", "a.*.example", "a..example", "a.example:0", "a.example:x", "**", "!a.example", "a b"} {
		if _, err := Parse([]string{"good.example", bad}); !errors.Is(err, ErrSyntax) || !strings.Contains(err.Error(), `"`+bad+`"`) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
