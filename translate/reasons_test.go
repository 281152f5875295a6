package translate

import "testing"

func TestEndReasonsHaveVendorInfo(t *testing.T) {
	tests := []struct {
		reason EndReason
		wasUp  bool
		want   string
	}{
		{EndTimeout, true, "Failed by ICE keep alive"},
		{EndTimeout, false, "Failed by ICE timeout"},
		{EndRemoved, true, "Requested stream shutdown"},
		{EndRoomClosed, true, "Requested stream shutdown"},
		{EndShutdown, true, "Stream failed"},
		{EndMedia, true, "Failed by RTP activity"},
		{EndReplaced, true, "Failed by error"},
		{EndClient, true, "Failed by error"},
		{EndAbsent, true, "Failed by error"},
		{EndUnknown, false, "Failed by error"},
		{"of a later version", true, "Failed by error"},
	}
	for _, tt := range tests {
		if got := InfoForEnd(tt.reason, tt.wasUp); got != tt.want {
			t.Errorf("InfoForEnd(%q, %v) = %q, want %q", tt.reason, tt.wasUp, got, tt.want)
		}
	}
}
