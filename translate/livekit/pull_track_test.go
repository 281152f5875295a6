package livekit

import (
	"bytes"
	"testing"
	"time"
)

const frame = 40 * time.Millisecond

func TestClockOfAPullIgnoresTheJitterOfArrivals(t *testing.T) {
	var c pullClock
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 100 {
		late := time.Duration(i%5) * 10 * time.Millisecond
		at := time.Duration(i) * frame
		m := c.media(time.Hour+at, start.Add(at+late))
		if m != at {
			t.Fatalf("frame %d has the time %v, want %v", i, m, at)
		}
		if !c.base.Equal(start) {
			t.Fatalf("frame %d: time 0 is at %v, want the start", i, c.base.Sub(start))
		}
	}
}

func TestClockOfAPullFollowsASourceThatDrifts(t *testing.T) {
	var c pullClock
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var at time.Duration
	for at < time.Minute {
		c.media(at, start.Add(at+at/1000)) // the source's clock is slow by 1 ms each second
		at += frame
	}
	if off := c.base.Sub(start); off < 30*time.Millisecond || off > time.Minute/1000 {
		t.Errorf("after a minute time 0 is at %v, want it to follow", off)
	}
}

func TestClockOfAPullGoesOnWhenTheSourceReturnsOrJumps(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, jump := range map[string]func(*pullClock) time.Duration{
		"returned":         func(c *pullClock) time.Duration { c.restart = true; return 0 },
		"jumped backwards": func(*pullClock) time.Duration { return -time.Minute },
		"jumped ahead":     func(*pullClock) time.Duration { return time.Hour },
	} {
		var c pullClock
		c.media(0, start)
		c.media(time.Second, start.Add(time.Second))
		at := jump(&c)
		if m := c.media(at, start.Add(4*time.Second)); m != 4*time.Second {
			t.Errorf("%s: the time is %v, want 4 s", name, m)
		}
		if m := c.media(at+frame, start.Add(4*time.Second+frame)); m != 4*time.Second+frame {
			t.Errorf("%s: the next time is %v", name, m)
		}
	}
}

var (
	sps   = []byte{0x67, 0x42, 0xc0, 0x1f, 1}
	pps   = []byte{0x68, 0xce, 1}
	aud   = []byte{9, 0xf0}
	key   = bytes.Repeat([]byte{0x65}, 5000)
	delta = bytes.Repeat([]byte{0x41}, 3000)
)

func TestKeyFramesHaveParameterSetsAndPacketsAreSmall(t *testing.T) {
	var v pullVideo
	if _, isKey := v.prepare([][]byte{aud, sps, pps, key}); !isKey {
		t.Error("a key frame is not recognised")
	}
	unit, isKey := v.prepare([][]byte{aud, key})
	if !isKey || len(unit) != 3 || !bytes.Equal(unit[0], sps) || !bytes.Equal(unit[1], pps) {
		t.Fatalf("a key frame without parameter sets has %d units, key %v", len(unit), isKey)
	}
	payloads := v.payloads(unit)
	if len(payloads) < 5 || payloads[0][0]&0x1f != h264STAPA {
		t.Errorf("%d packets, the first of type %d, want the parameter sets first", len(payloads), payloads[0][0]&0x1f)
	}
	for _, p := range payloads {
		if len(p) > pullPayload {
			t.Errorf("payload of %d bytes", len(p))
		}
	}
	if unit, isKey := v.prepare([][]byte{aud, delta}); isKey || len(unit) != 1 {
		t.Errorf("another frame has %d units, key %v", len(unit), isKey)
	}
}

const h264STAPA = 24

func TestFramesAreKeptOnlyAtTheStartAndWithinLimits(t *testing.T) {
	var v pullVideo
	now := time.Now()
	v.keep([][]byte{delta}, false, 0, now)
	if len(v.frames) != 0 {
		t.Error("a frame before the first key frame is kept")
	}
	for i := range 10 {
		v.keep([][]byte{key}, i == 0, uint32(i), now)
	}
	if len(v.frames) != 10 || v.size != 10*len(key) {
		t.Errorf("%d frames with %d bytes are kept", len(v.frames), v.size)
	}
	v.keep([][]byte{key}, true, 10, now)
	if len(v.frames) != 1 {
		t.Errorf("after a key frame %d are kept", len(v.frames))
	}
	for i := range replayFrames {
		v.keep([][]byte{delta}, false, uint32(11+i), now)
	}
	if len(v.frames) != 0 {
		t.Errorf("beyond the limit %d are kept", len(v.frames))
	}
	v.keep([][]byte{key}, true, 1000, now.Add(2*replayFor))
	if len(v.frames) != 0 {
		t.Error("a frame is kept that cannot be repeated any more")
	}
}
