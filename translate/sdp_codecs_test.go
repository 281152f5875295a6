package translate

import (
	"errors"
	"strings"
	"testing"
)

func TestParseCodecsOrdersKnownNames(t *testing.T) {
	tests := []struct {
		names string
		want  string
		err   string
	}{
		{"opus red VP8 H264", "opus,red,VP8,H264", ""},
		{"h264 vp8 RED OPUS", "opus,red,VP8,H264", ""},
		{"opus PCMU PCMA VP9 AV1 H265", "opus,PCMU,PCMA,VP9,AV1,H265", ""},
		{"", "", ""},
		{"opus G722", "", `"G722"`},
		{"opus rtx", "", `"rtx"`},
		{"red VP8", "", "red needs opus"},
	}
	for _, tt := range tests {
		got, err := ParseCodecs(strings.Fields(tt.names))
		if tt.err == "" && (err != nil || got.String() != tt.want) {
			t.Errorf("ParseCodecs(%s) = %s, %v; want %s", tt.names, got, err, tt.want)
		}
		if tt.err != "" && (!errors.Is(err, ErrCodecs) || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("ParseCodecs(%s): error %v, want one with %s", tt.names, err, tt.err)
		}
	}
}

func TestDefaultCodecsAreOpusRedVP8H264(t *testing.T) {
	parsed, err := ParseCodecs([]string{"opus", "red", "VP8", "H264"})
	if err != nil || DefaultCodecs() != parsed {
		t.Errorf("DefaultCodecs = %s, want %s (%v)", DefaultCodecs(), parsed, err)
	}
}

func TestRankH264ByModeAndProfile(t *testing.T) {
	tests := []struct {
		fmtp string
		want int
	}{
		{"level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f", h264ConstrainedBaseline},
		{"profile-level-id=42C01E;packetization-mode=1", h264ConstrainedBaseline},
		{"Packetization-Mode=1; profile-level-id=42001f", h264Baseline},
		{"packetization-mode=1;profile-level-id=640c1f", h264OtherProfile},
		{"packetization-mode=1;profile-level-id=4d001f", h264OtherProfile},
		{"packetization-mode=1", h264OtherProfile},
		{"packetization-mode=1;profile-level-id=nonsense", h264OtherProfile},
		{"packetization-mode=0;profile-level-id=42e01f", h264SingleNAL},
		{"profile-level-id=42e01f;level-asymmetry-allowed=1", h264SingleNAL},
		{"", h264SingleNAL},
	}
	for _, tt := range tests {
		if got := rankH264(format{fmtp: tt.fmtp}); got != tt.want {
			t.Errorf("rankH264(%s) = %d, want %d", tt.fmtp, got, tt.want)
		}
	}
}
