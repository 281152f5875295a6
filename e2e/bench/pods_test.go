package bench

import (
	"fmt"
	"regexp"
	"strconv"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
)

const (
	podsSettle = 10 * time.Second // until the pods know each other
	podsWatch  = 30 * time.Second
)

// measurePods measures the commands that an idle gateway sends to Redis, for 10 and 60 gateways of one
// deployment against one that is alone.
func measurePods(b *testing.B, p *programs, results *report) {
	redis := rig.StartRedis(b)
	var running []*server
	defer func() { // each would drain by itself, one after the other
		for _, s := range running {
			s.Kill()
		}
	}()
	perPod := func(pods int) float64 {
		for len(running) < pods {
			running = append(running, startGateway(b, p, rig.NewPorts(b), redis.Addr, nil))
		}
		wait(b, podsSettle)
		before, began := processed(b, redis), time.Now()
		wait(b, podsWatch)
		return float64(processed(b, redis)-before) / time.Since(began).Seconds() / float64(pods)
	}
	alone := perPod(1)
	for _, pods := range []int{10, 60} {
		results.add(row{Measure: fmt.Sprintf("Redis commands of an idle gateway, one of %d", pods), Unit: "/s", Ours: perPod(pods), Baseline: alone,
			Against: "an idle gateway alone", Goal: goal{Ratio: 1.2}})
	}
}

var processedLine = regexp.MustCompile(`total_commands_processed:(\d+)`)

// processed returns the commands that a Redis has run since its start.
func processed(b *testing.B, redis *rig.Redis) int {
	b.Helper()
	found := processedLine.FindStringSubmatch(redis.CLI("INFO", "stats"))
	if found == nil {
		b.Fatal("Redis does not tell the number of commands")
	}
	n, err := strconv.Atoi(found[1])
	if err != nil {
		b.Fatal(err)
	}
	return n
}
