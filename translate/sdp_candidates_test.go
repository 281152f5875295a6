package translate

import (
	"strings"
	"testing"
)

func TestCandidatesAreNamedByTypeTransportAndScope(t *testing.T) {
	for candidate, want := range map[string]string{
		"1 1 udp 2130706431 127.0.0.1 50000 typ host":                                  "host udp loopback",
		"1 1 UDP 2130706431 10.1.2.3 50000 typ host generation 0":                      "host udp private",
		"1 1 tcp 1671430143 100.64.0.9 7881 typ host tcptype passive":                  "host tcp private",
		"1 1 udp 1694498815 203.0.113.9 50000 typ srflx raddr 0.0.0.0 rport 0":         "srflx udp public",
		"1 1 udp 2130706431 fe80::1 50000 typ host":                                    "host udp private",
		"1 1 udp 2130706431 fd00::1 50000 typ host":                                    "host udp private",
		"1 1 udp 2130706431 2001:db8::1 50000 typ relay":                               "relay udp public",
		"1 1 udp 2130706431 ::ffff:192.168.0.1 50000 typ host":                         "host udp private",
		"1 1 udp 2130706431 4f1b6fd6-5b5b-4f0f-8b0e-1f1f1f1f1f1f.local 50000 typ host": "host udp name",
		"1 1 udp 2130706431 127.0.0.1 50000 typ":                                       "none",
		"1 1 sctp 2130706431 127.0.0.1 50000 typ host":                                 "none",
		"1 1 udp 2130706431 127.0.0.1 50000 typ elsewhere":                             "none",
		"": "none",
	} {
		var c Candidates
		c.add(candidate)
		if c.String() != want {
			t.Errorf("%q is %q, want %q", candidate, c, want)
		}
	}
	all := Candidates(1<<32 - 1)
	if n := len(strings.Split(all.String(), ", ")); n != 32 {
		t.Errorf("%d kinds, want 32", n)
	}
}
