package tests

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
)

const releaseDir = root + "/deploy/release"

// run runs a command in the root of the tree and returns its output.
func run(t *testing.T, environ []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = root, append(os.Environ(), environ...)
	var errors bytes.Buffer
	cmd.Stderr = &errors
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, errors.Bytes())
	}
	return string(out)
}

// packages makes the packages of programs that only print their version, and returns their directory.
func packages(t *testing.T, environ ...string) string {
	t.Helper()
	dir := t.TempDir()
	notices, out := filepath.Join(dir, "NOTICES"), filepath.Join(dir, "out")
	const program = "#!/bin/sh\necho 1.2.3-rc.1\n"
	for name, text := range map[string]string{"wcs-gateway": program, "wcs-doctor": program, "wcs-pull": program, "NOTICES": "notices\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	run(t, append(environ, "SOURCE_DATE_EPOCH=1700000000"), "sh", "deploy/release/package", "1.2.3-rc.1", "amd64", dir, notices, out)
	run(t, append(environ, "SOURCE_DATE_EPOCH=1700000000", "HOME_URL=https://published.example"), "sh", "deploy/release/chart", "1.2.3-rc.1", out)
	return out
}

const (
	archiveName = "wcs-gateway-1.2.3-rc.1-linux-amd64.tar.gz"
	debName     = "wcs-gateway_1.2.3~rc.1_amd64.deb"
	pullDebName = "wcs-pull_1.2.3~rc.1_amd64.deb"
	chartName   = "wcs-gateway-chart-1.2.3-rc.1.tgz"
)

func TestPackagesAreReproducible(t *testing.T) {
	first := packages(t, "TZ=UTC")
	second := packages(t, "TZ=Asia/Tokyo", "LC_ALL=C.UTF-8")
	for _, name := range []string{archiveName, debName, pullDebName, chartName} {
		if a, b := sha256.Sum256(readFile(t, filepath.Join(first, name))), sha256.Sum256(readFile(t, filepath.Join(second, name))); a != b {
			t.Errorf("%s has the sum %x, then %x", name, a, b)
		}
	}
}

func TestArchiveHasWhatAnInstallationNeeds(t *testing.T) {
	zipped, err := gzip.NewReader(bytes.NewReader(readFile(t, filepath.Join(packages(t), archiveName))))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for archive := tar.NewReader(zipped); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.ModTime.Unix() != 1700000000 {
			t.Errorf("%s has the owner %d and the time %v", h.Name, h.Uid, h.ModTime)
		}
		got[strings.TrimPrefix(h.Name, strings.TrimSuffix(archiveName, ".tar.gz")+"/")] = h.Mode
	}
	want := map[string]int64{
		"": 0o755, "wcs-gateway": 0o755, "wcs-doctor": 0o755, "wcs-pull": 0o755, "LICENSE": 0o644, "NOTICES": 0o644,
		"wcs-gateway.example.yaml": 0o644, "wcs-gateway.service": 0o644, "wcs-pull.service": 0o644, "pull.yaml": 0o644,
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("files %v, want %v", got, want)
	}
}

// Each package is installed into an empty root and purged. systemd accepts its unit, which starts the
// installed program, and the program its configuration.
func TestDebIsInstalledAndPurged(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("dpkg needs root")
	}
	out := packages(t)
	for _, p := range []struct {
		deb, name, config string
		secrets           []string
		check             func(config string) error
	}{
		{debName, "wcs-gateway", "gateway.yaml", []string{"livekit"}, func(config string) error { return checkConfig(t.Context(), t, config, nil) }},
		{pullDebName, "wcs-pull", "pull.yaml", []string{"livekit", "secret"}, func(config string) error { return checkWorker(t, config, nil) }},
	} {
		t.Run(p.name, func(t *testing.T) {
			clean := t.TempDir()
			for _, dir := range []string{"var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers", "var/log"} {
				if err := os.MkdirAll(filepath.Join(clean, dir), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(clean, "var/lib/dpkg/status"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
			dpkg := func(args ...string) { // ffmpeg is not in the empty root
				t.Helper()
				run(t, nil, "dpkg", append([]string{"--root=" + clean, "--force-script-chrootless", "--force-depends"}, args...)...)
			}
			dpkg("--install", filepath.Join(out, p.deb))
			if out := run(t, nil, filepath.Join(clean, "usr/bin", p.name)); out != "1.2.3-rc.1\n" {
				t.Errorf("the program prints %q", out)
			}
			etc := filepath.Join(clean, "etc", p.name)
			if info, err := os.Stat(filepath.Join(etc, "secrets")); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("secrets: %v, %v", info, err)
			}
			for _, secret := range p.secrets {
				if err := os.WriteFile(filepath.Join(etc, "secrets", secret), []byte("0123456789abcdef0123456789abcdef"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			config := string(readFile(t, filepath.Join(etc, p.config)))
			if err := p.check(strings.ReplaceAll(config, "/run/credentials/"+p.name+".service", filepath.Join(etc, "secrets"))); err != nil {
				t.Error(err)
			}
			verifyUnit(t, clean, "/usr/lib/systemd/system", "/usr/bin/"+p.name, p.secrets...)
			dpkg("--purge", p.name)
			for _, left := range []string{"usr/bin/" + p.name, "usr/lib/systemd/system/" + p.name + ".service", "etc/" + p.name} {
				if _, err := os.Stat(filepath.Join(clean, left)); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("%s is left after the purge: %v", left, err)
				}
			}
		})
	}
}

// The worker does not run without ffmpeg.
func TestDebOfWorkerDependsOnFFmpeg(t *testing.T) {
	if got := run(t, nil, "dpkg-deb", "--field", filepath.Join(packages(t), pullDebName), "Depends"); got != "ffmpeg\n" {
		t.Errorf("the package depends on %q", got)
	}
}

// verifyUnit requires that systemd accepts the unit of a program in a directory of a clean root, and that the
// unit starts the installed program with these secrets.
func verifyUnit(t *testing.T, clean, dir, program string, secrets ...string) {
	t.Helper()
	name := filepath.Base(program)
	unit := name + ".service"
	text := string(readFile(t, filepath.Join(clean, dir, unit)))
	if n := strings.Count(text, "="+program+" "); n != 2 || strings.Count(text, "/bin/"+name+" ") != n {
		t.Errorf("the unit names the installed program %d times, want twice:\n%s", n, text)
	}
	for _, secret := range secrets {
		if !strings.Contains(text, "\nLoadCredential="+secret+":/etc/"+name+"/secrets/"+secret+"\n") {
			t.Errorf("the unit does not load %s:\n%s", secret, text)
		}
	}
	tool, err := exec.LookPath("systemd-analyze")
	if err != nil {
		return
	}
	here := filepath.Join(t.TempDir(), unit)
	if err := os.WriteFile(here, []byte(strings.ReplaceAll(text, program, filepath.Join(clean, program))), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := run(t, nil, tool, "verify", here); out != "" {
		t.Errorf("systemd-analyze verify reports:\n%s", out)
	}
}

// The commands of docs/install-linux.md install the archive into an empty root. systemd accepts the units,
// the gateway the configuration of the document, and the worker that of the archive.
func TestArchiveIsInstalledByDocumentedCommands(t *testing.T) {
	document := string(readFile(t, root+"/docs/install-linux.md"))
	block := func(language, first string) string {
		_, text, found := strings.Cut(document, "```"+language+"\n"+first)
		text, _, _ = strings.Cut(text, "```")
		if !found {
			t.Fatalf("docs/install-linux.md has no block that begins with %s", first)
		}
		return first + text
	}
	out, clean := packages(t), t.TempDir()
	for _, dir := range []string{"usr/local/bin", "etc/systemd/system"} {
		if err := os.MkdirAll(filepath.Join(clean, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	const secret = "0123456789abcdef0123456789abcdef"
	commands := strings.NewReplacer("1.2.3", "1.2.3-rc.1", "/usr/local/", clean+"/usr/local/", "/etc/", clean+"/etc/").Replace(block("sh", "tar -xzf") + block("sh", "install -m 0755 wcs-pull"))
	run(t, []string{"LIVEKIT_SECRET=" + secret, "PULL_LIVEKIT_SECRET=" + secret}, "sh", "-euc", "cd "+out+"\n"+commands)
	for _, name := range []string{"wcs-gateway", "wcs-pull"} {
		if out := run(t, nil, filepath.Join(clean, "usr/local/bin", name)); out != "1.2.3-rc.1\n" {
			t.Errorf("%s prints %q", name, out)
		}
		file := filepath.Join(clean, "etc", name, "secrets/livekit")
		if got := string(readFile(t, file)); got != secret {
			t.Errorf("the secret of %s is %q", name, got)
		}
		for path, want := range map[string]os.FileMode{file: 0o600, filepath.Dir(file): 0o700} {
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
				t.Errorf("%s: %v, %v, want mode %v", path, info, err, want)
			}
		}
	}
	config := strings.ReplaceAll(block("yaml", "# /etc/wcs-gateway/gateway.yaml"), "/run/credentials/wcs-gateway.service", filepath.Join(clean, "etc/wcs-gateway/secrets"))
	if err := checkConfig(t.Context(), t, config, nil); err != nil {
		t.Error(err)
	}
	worker := string(readFile(t, filepath.Join(clean, "etc/wcs-pull/pull.yaml")))
	if err := checkWorker(t, strings.ReplaceAll(worker, "/run/credentials/wcs-pull.service", filepath.Join(clean, "etc/wcs-pull/secrets")), nil); err != nil {
		t.Error(err)
	}
	verifyUnit(t, clean, "/etc/systemd/system", "/usr/local/bin/wcs-gateway", "livekit")
	verifyUnit(t, clean, "/etc/systemd/system", "/usr/local/bin/wcs-pull", "livekit", "secret")
}

// The packaged chart has the version of the release, for the image of that version, and no examples.
func TestChartPackageHasTheVersion(t *testing.T) {
	c, err := loader.Load(filepath.Join(packages(t), chartName))
	if err != nil {
		t.Fatal(err)
	}
	if m := c.Metadata; m.Version != "1.2.3-rc.1" || m.AppVersion != "1.2.3-rc.1" || m.Home != "https://published.example" {
		t.Errorf("version %s of %s at %s", m.Version, m.AppVersion, m.Home)
	}
	source, err := loader.Load(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Raw) != len(source.Raw) {
		t.Errorf("%d files, the tree has %d", len(c.Raw), len(source.Raw))
	}
}

// The notices have the licence of each module that the programs link.
func TestNoticesNameEveryLinkedModule(t *testing.T) {
	notices := run(t, nil, "sh", "deploy/release/notices", "./cmd/wcs-gateway", "./cmd/wcs-doctor", "./cmd/wcs-pull")
	for _, build := range []func() (string, error){gatewayBinary, workerBinary} {
		binary, err := build()
		if err != nil {
			t.Fatal(err)
		}
		info, err := buildinfo.ReadFile(binary)
		if err != nil {
			t.Fatal(err)
		}
		if len(info.Deps) < 50 {
			t.Fatalf("%d modules in %s", len(info.Deps), binary)
		}
		for _, module := range info.Deps {
			if !strings.Contains(notices, "\n"+module.Path+" "+module.Version+"\n--- ") {
				t.Errorf("no notice of %s %s", module.Path, module.Version)
			}
		}
	}
}

// A release is of a clean tree with a tag, unless a version is named.
func TestReleaseNeedsTag(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "Makefile"), readFile(t, root+"/Makefile"), 0o644); err != nil {
		t.Fatal(err)
	}
	git := func(args ...string) {
		t.Helper()
		run(t, nil, "git", append([]string{"-C", dir, "-c", "user.name=a", "-c", "user.email=a@a.example"}, args...)...)
	}
	release := func() string {
		out, _ := exec.CommandContext(t.Context(), "make", "-C", dir, "release", "ARCHES=").CombinedOutput() // it has only a Makefile
		return string(out)
	}
	git("init", "-q")
	if out := release(); !strings.Contains(out, "the tree has changes") {
		t.Errorf("with changes: %s", out)
	}
	git("add", ".")
	git("commit", "-qm", "all")
	if out := release(); !strings.Contains(out, "HEAD has no tag") {
		t.Errorf("without a tag: %s", out)
	}
	git("tag", "v3.4.5")
	if out := release(); !strings.Contains(out, "rm -rf bin/release ") || strings.Contains(out, "release: ") {
		t.Errorf("with a tag: %s", out)
	}
}

// The image has the labels of the Open Container Initiative.
func TestImageHasLabels(t *testing.T) {
	text := string(readFile(t, root+"/Dockerfile"))
	for _, label := range []string{"title", "description", "licenses", "version", "revision", "url", "source"} {
		if !strings.Contains(text, "org.opencontainers.image."+label+"=") {
			t.Errorf("no label %s", label)
		}
	}
	args := []string{"VERSION", "REVISION", "HOME_URL"}
	makefile := string(readFile(t, root+"/Makefile"))
	if i := slices.IndexFunc(args, func(a string) bool { return !strings.Contains(makefile, "--build-arg "+a+"=") }); i >= 0 {
		t.Errorf("make image does not pass %s", args[i])
	}
}
