package session

import (
	"slices"
	"testing"

	"wcsgateway/gateway/hooks"
)

func TestOverwritesWithoutEffectAreLogged(t *testing.T) {
	policies, err := hooks.ParsePolicies([]byte(`{
		"connect": {"restPolicy": "OVERWRITE", "restOverwrite": "custom,clientVersion"},
		"publishStream": {"restPolicy": "OVERWRITE", "restOverwrite": "name,custom,maxBitrate"},
		"playStream": {"restPolicy": "NOTIFY", "restOverwrite": "custom"},
		"OnDataEvent": {"restPolicy": "OVERWRITE", "restOverwrite": "payload"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := idleOverwrites(policies), []string{"OnDataEvent.payload", "publishStream.custom"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
