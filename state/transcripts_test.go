package state

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"wcsgateway/e2e/rig"
)

func TestLastTranscriptsOfApplicationAreKept(t *testing.T) {
	rig.SkipShort(t)
	t.Parallel()
	redis := rig.StartRedis(t)
	r := openStore(t, redis.Addr)
	const keep = 2*transcriptsPage + 1
	var want []string
	for i := range keep + 3 {
		text := fmt.Sprint(i)
		if err := r.AddTranscript(t.Context(), "an app", keep, []byte(text)); err != nil {
			t.Fatal(err)
		}
		want = append(want, text)
	}
	for _, text := range []string{"replaced", "other"} {
		if err := r.AddTranscript(t.Context(), "other", 1, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if kept := strings.Fields(redis.CLI("LRANGE", r.keys.transcripts("other"), "0", "-1")); !slices.Equal(kept, []string{"other"}) {
		t.Errorf("of the other application %v are kept", kept)
	}
	var got []string
	if err := r.Transcripts(t.Context(), "an app", func(text string) error {
		got = append(got, text)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	slices.Reverse(got)
	if !slices.Equal(got, want[3:]) {
		t.Errorf("transcripts %v", got)
	}
	if ttl := strings.TrimSpace(redis.CLI("TTL", r.keys.transcripts("an app"))); len(ttl) != 6 { // 7 days are 604800 s
		t.Errorf("they are kept for %s s", ttl)
	}
}
