package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestLatencyHasNearestRankPercentiles(t *testing.T) {
	values := make([]time.Duration, 0, 200)
	for i := 200; i > 0; i-- {
		values = append(values, time.Duration(i)*time.Millisecond+40*time.Microsecond)
	}
	if got, want := newLatency("a", values), (latency{"a", 200, 100, 180, 198, 200}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got, want := newLatency("b", []time.Duration{1250 * time.Microsecond}), (latency{"b", 1, 1.3, 1.3, 1.3, 1.3}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestEmptyListsAreArraysInJSON(t *testing.T) {
	text, err := json.Marshal(newRecords().report())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"steps":[]`, `"latencies":[]`, `"failures":[]`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
}
