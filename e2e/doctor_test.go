package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
)

// The transcript of a session that is spliced to a gateway, with real media, has nothing that wcs-doctor
// reports: the old server is a gateway, too.
func TestDoctorFindsNothingInSessionSplicedToGateway(t *testing.T) {
	t.Parallel()
	m := startMigration(t, "route: {default: old, transcripts: 10}")
	c, _ := m.login(0, "somebodys-login")
	c.Publish("pub-secret", "name-secret", rig.NewPublisher(t, rig.PeerOptions{Width: 320, Height: 240}))
	screen := rig.NewPlayer(t, rig.PeerOptions{})
	c.Play("play-secret", "name-secret", screen)
	wantPackets(t, screen)
	c.Send("stopStream", map[string]any{"mediaSessionId": "play-secret", "name": "name-secret", "published": false})
	c.WantStatus("play-secret", "STOPPED", "Stopped by user")
	c.Unpublish("pub-secret", "name-secret")
	c.WantStatus("pub-secret", "UNPUBLISHED", "Stopped by publisher stop")
	c.Close()

	const key = "wcs:new:transcripts:defaultApp"
	rig.Eventually(t, 20*time.Second, "the transcript is written", func() bool {
		return strings.TrimSpace(m.old.Redis.CLI("LLEN", key)) == "1"
	})
	text := m.old.Redis.CLI("LRANGE", key, "0", "-1")
	for _, content := range []string{"somebodys-login", "secret", "candidate:", "127.0.0.1"} {
		if strings.Contains(text, content) {
			t.Errorf("it has %q: %s", content, text)
		}
	}
	file := filepath.Join(t.TempDir(), "transcripts.jsonl")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	doctor, err := rig.BuildDoctor()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), doctor, "--transcripts", file).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "and of this gateway\n  none\n") || !strings.Contains(string(out), "command publishStream (once; defaultApp)") {
		t.Errorf("%v\n%s\n%s", err, out, text)
	}
}
