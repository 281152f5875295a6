package tests

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"sigs.k8s.io/yaml"
)

const composeDir = root + "/deploy/compose"

// composeSettings holds the settings of .env.example, and values for those that it leaves empty.
func composeSettings(t testing.TB) map[string]string {
	t.Helper()
	settings, err := dotenv.Read(filepath.Join(composeDir, ".env.example"))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"LIVEKIT_API_SECRET": "0123456789abcdef0123456789abcdef", "NODE_IP": "192.0.2.1", "GATEWAY_IMAGE": "registry.example/wcs-gateway:1.0.0"} {
		if left, ok := settings[name]; !ok || left != "" {
			t.Errorf(".env.example has a value for %s, want none", name)
		}
		settings[name] = value
	}
	return settings
}

func loadCompose(ctx context.Context, t testing.TB, settings map[string]string) (*types.Project, error) {
	t.Helper()
	var environ []string
	for name, value := range settings {
		environ = append(environ, name+"="+value)
	}
	return loadComposeFile(ctx, t, "compose.yaml", environ)
}

func loadComposeFile(ctx context.Context, t testing.TB, file string, environ []string, profiles ...string) (*types.Project, error) {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{filepath.Join(composeDir, file)}, cli.WithEnv(environ), cli.WithResolvedPaths(true), cli.WithProfiles(profiles))
	if err != nil {
		t.Fatal(err)
	}
	return cli.ProjectFromOptions(ctx, options)
}

func TestComposeRunsTwoPodsAndGivesThemTimeToDrain(t *testing.T) {
	settings := composeSettings(t)
	project, err := loadCompose(t.Context(), t, settings)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"gateway-1", "gateway-2", "haproxy", "livekit", "redis"}
	if got := slices.Sorted(maps.Keys(project.Services)); !slices.Equal(got, want) {
		t.Fatalf("services %v", got)
	}
	// notice + window + 2 × pace + handover + 10 s of the defaults in the gateway's configuration
	const drain = (5 + 60 + 2*10 + 8 + 10) * time.Second
	for _, name := range want[:2] {
		g := project.Services[name]
		if g.StopGracePeriod == nil || time.Duration(*g.StopGracePeriod) < drain {
			t.Errorf("%s has %v to end, it needs %v", name, g.StopGracePeriod, drain)
		}
		var environ []string
		for k, v := range g.Environment {
			environ = append(environ, k+"="+*v)
		}
		if err := checkConfig(t.Context(), t, "{}", environ); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, s := range project.Services {
		for _, v := range s.Volumes {
			if v.Type == types.VolumeTypeBind && strings.Contains(v.Source, "deploy/compose/") && !strings.HasSuffix(v.Source, "/certificates") {
				if _, err := os.Stat(v.Source); err != nil {
					t.Errorf("%s mounts a missing file: %v", name, err)
				}
			}
		}
	}
}

// A missing setting is reported by name, and .env.example has exactly the variables that compose.yaml
// uses.
func TestMissingComposeSettingIsReported(t *testing.T) {
	settings := composeSettings(t)
	used := map[string]string{}
	for _, m := range regexp.MustCompile(`\$\{([A-Z_]+)`).FindAllStringSubmatch(string(readFile(t, filepath.Join(composeDir, "compose.yaml"))), -1) {
		used[m[1]] = ""
	}
	if got, want := slices.Sorted(maps.Keys(settings)), slices.Sorted(maps.Keys(used)); !slices.Equal(got, want) {
		t.Errorf(".env.example has %v, compose.yaml uses %v", got, want)
	}
	for _, name := range []string{"LIVEKIT_API_SECRET", "NODE_IP", "ORIGINS", "APPLICATIONS", "CERTIFICATES", "GATEWAY_IMAGE"} {
		without := maps.Clone(settings)
		without[name] = ""
		if _, err := loadCompose(t.Context(), t, without); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
}

// haproxy accepts its file, with a certificate at the path in the container.
func TestHAProxyAcceptsComposeConfiguration(t *testing.T) {
	certificates := t.TempDir()
	cert, key := certificate(t)
	if err := os.WriteFile(filepath.Join(certificates, "site.pem"), append(cert, key...), 0o600); err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(readFile(t, filepath.Join(composeDir, "haproxy.cfg"))), "/certs/", certificates)
	text = regexp.MustCompile(`gateway-[12]:`).ReplaceAllString(text, "127.0.0.1:")
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "haproxy", "-c", "-f", file).CombinedOutput(); err != nil || strings.Contains(string(out), "[WARNING]") {
		t.Errorf("%v\n%s", err, out)
	}
}

// LiveKit sends the gateways' events, signed with their key, and receives media at the published ports.
func TestComposeLiveKitSendsWebhooksToGateways(t *testing.T) {
	var config struct {
		RTC struct {
			TCPPort uint32 `json:"tcp_port"`
			UDPPort uint32 `json:"udp_port"`
		} `json:"rtc"`
		Webhook struct {
			APIKey string `json:"api_key"`
			URLs   []string
		}
	}
	if err := yaml.Unmarshal(readFile(t, filepath.Join(composeDir, "livekit.yaml")), &config); err != nil {
		t.Fatal(err)
	}
	project, err := loadCompose(t.Context(), t, composeSettings(t))
	if err != nil {
		t.Fatal(err)
	}
	if key := *project.Services["gateway-1"].Environment["WCS_LIVEKIT_APIKEY"]; config.Webhook.APIKey != key || len(config.Webhook.URLs) != 1 {
		t.Errorf("webhooks are signed with %q, the gateway's key is %q; they go to %v", config.Webhook.APIKey, key, config.Webhook.URLs)
	}
	published := map[string]uint32{}
	for _, p := range project.Services["livekit"].Ports {
		published[p.Protocol] = p.Target
	}
	if published["tcp"] != config.RTC.TCPPort || published["udp"] != config.RTC.UDPPort {
		t.Errorf("published ports %v do not match %+v", published, config.RTC)
	}
}

// The demo needs no setting and no certificate. The gateway takes its configuration, and LiveKit has the same
// key and sends the gateway its events.
func TestComposeDemoNeedsNoSettings(t *testing.T) {
	project, err := loadComposeFile(t.Context(), t, "demo.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := slices.Sorted(maps.Keys(project.Services)), []string{"gateway", "livekit", "page", "redis"}; !slices.Equal(got, want) {
		t.Fatalf("services %v, want %v", got, want)
	}
	var environ []string
	settings := project.Services["gateway"].Environment
	for k, v := range settings {
		environ = append(environ, k+"="+*v)
	}
	if err := checkConfig(t.Context(), t, "{}", environ); err != nil {
		t.Error(err)
	}
	key := *settings["WCS_LIVEKIT_APIKEY"] + ": " + *settings["WCS_LIVEKIT_APISECRET"]
	if got := *project.Services["livekit"].Environment["LIVEKIT_KEYS"]; got != key {
		t.Errorf("LiveKit has the key %q, the gateway %q", got, key)
	}
	config := string(readFile(t, filepath.Join(composeDir, "livekit.demo.yaml")))
	if !strings.Contains(config, "http://gateway:9090/webhook") || !strings.Contains(config, "udp_port: 7882") {
		t.Errorf("configuration of LiveKit:\n%s", config)
	}
	for name, s := range project.Services {
		for _, p := range s.Ports {
			if p.HostIP != "127.0.0.1" {
				t.Errorf("%s publishes %s to other machines", name, p.Published)
			}
		}
	}
}

// The image of the demo page fills in the page of make dev, whose files it names, for the gateway of the
// demo.
func TestComposeDemoHasPage(t *testing.T) {
	project, err := loadComposeFile(t.Context(), t, "demo.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	build := project.Services["page"].Build
	fill := regexp.MustCompile(`RUN sed -i ('[^']+') /usr/share/nginx/html/index.html`).FindStringSubmatch(build.DockerfileInline)
	if fill == nil {
		t.Fatalf("the page is not filled in:\n%s", build.DockerfileInline)
	}
	out, err := exec.CommandContext(t.Context(), "sh", "-c", "sed "+fill[1]+" "+filepath.Join(build.Context, "page/index.html")).Output()
	if err != nil {
		t.Fatal(err)
	}
	page := string(out)
	for _, want := range []string{`data-ws="ws://localhost:8080" data-apps="defaultApp"`, `value="ws://localhost:8080"`, `src="flashphoner.js"`, `src="app.js"`, `then <b>Play</b>.</p>`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if strings.Contains(page, "{{") || strings.Contains(page, "no-sdk") || strings.Contains(page, "is not installed") {
		t.Errorf("the page has parts of the template:\n%s", page)
	}
	for _, name := range []string{"package.json", "package-lock.json"} {
		if !strings.Contains(build.DockerfileInline, name) || len(readFile(t, filepath.Join(build.Context, name))) == 0 {
			t.Errorf("%s is missing", name)
		}
	}
	if _, err := parser.Parse(strings.NewReader(build.DockerfileInline)); err != nil {
		t.Error(err)
	}
}
