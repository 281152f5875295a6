package translate

import (
	"errors"
	"slices"
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
		if one, ok := parseCandidate(candidate); ok {
			c = one.kind()
		}
		if c.String() != want {
			t.Errorf("%q is %q, want %q", candidate, c, want)
		}
	}
	all := Candidates(1<<32 - 1)
	if n := len(strings.Split(all.String(), ", ")); n != 32 {
		t.Errorf("%d kinds, want 32", n)
	}
}

func TestAnswerCandidatesAreListedOnce(t *testing.T) {
	list, err := AnswerCandidates("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\n" +
		"a=candidate:1 1 udp 2130706431 192.0.2.1 7882 typ host\r\na=candidate:1 2 udp 2130706431 192.0.2.1 7882 typ host\r\n" +
		"a=candidate:2 1 tcp 1671430143 2001:db8::1 7881 typ host tcptype passive\r\na=candidate:3 1 sctp 1 192.0.2.1 1 typ host\r\n")
	var got []string
	for _, c := range list {
		got = append(got, c.String())
	}
	if want := []string{"udp 192.0.2.1:7882", "tcp [2001:db8::1]:7881"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	if _, err := AnswerCandidates("no SDP"); !errors.Is(err, ErrMalformedSDP) {
		t.Errorf("no SDP: %v", err)
	}
}
