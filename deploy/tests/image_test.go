package tests

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// buildkit accepts the Dockerfile without a warning. It honours the base image's digest and copies the
// output of make rootfs.
func TestDockerfileBuildsWithoutWarnings(t *testing.T) {
	f, err := os.Open(root + "/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	result, err := parser.Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	lint := linter.New(&linter.Config{Warn: func(rule, _, _, message string, _ []parser.Range) { t.Errorf("%s: %s", rule, message) }})
	stages, args, err := instructions.Parse(result.AST, lint)
	if err != nil {
		t.Fatal(err)
	}
	if len(stages) != 4 {
		t.Fatalf("%d stages", len(stages))
	}
	testWorkerStages(t, stages[1], stages[2])
	stages = []instructions.Stage{stages[0], stages[3]} // the gateway's is the last: it is built without --target

	for digest, want := range map[string]string{"": "golang:1.26", "sha256:1234": "golang:1.26@sha256:1234"} {
		env := shell.EnvsFromSlice(append(defaults(args), "GO_DIGEST="+digest))
		if got, _, err := shell.NewLex('\\').ProcessWord(stages[0].BaseName, env); err != nil || got != want {
			t.Errorf("with the digest %q the base is %q, %v", digest, got, err)
		}
	}
	if stages[1].BaseName != "scratch" {
		t.Errorf("the image is based on %s", stages[1].BaseName)
	}
	var made bool
	for _, c := range stages[0].Commands {
		run, ok := c.(*instructions.RunCommand)
		made = made || ok && strings.Contains(strings.Join(run.CmdLine, " "), "make rootfs")
	}
	if !made {
		t.Error("the Dockerfile does not run make rootfs")
	}
	var user string
	var health []string
	for _, c := range stages[1].Commands {
		switch c := c.(type) {
		case *instructions.UserCommand:
			user = c.User
		case *instructions.HealthCheckCommand:
			health = c.Health.Test
		case *instructions.CopyCommand:
			if c.From != stages[0].Name || !slices.Equal(c.SourcePaths, []string{"/src/bin/rootfs/"}) {
				t.Errorf("%s is copied from %q", c.SourcePaths, c.From)
			}
		}
	}
	if user != "65532:65532" {
		t.Errorf("it runs as %q", user)
	}
	if want := []string{"CMD", "/wcs-gateway", "healthcheck"}; !slices.Equal(health, want) {
		t.Errorf("its health check is %q, want %q: the image has no shell", health, want)
	}
}

// testWorkerStages checks the image of workers: Debian's ffmpeg and the output of make rootfs-pull.
func testWorkerStages(t *testing.T, build, image instructions.Stage) {
	t.Helper()
	if build.BaseName != "build" || image.Name != "wcs-pull" || !strings.HasPrefix(image.BaseName, "debian:bookworm") {
		t.Errorf("%s is based on %s, %s on %s", build.Name, build.BaseName, image.Name, image.BaseName)
	}
	found := map[string]bool{"version": slices.ContainsFunc(build.Commands, func(c instructions.Command) bool {
		a, ok := c.(*instructions.ArgCommand) // buildah does not hand them on from the stage before
		return ok && a.Args[0].Key == "VERSION"
	})}
	for _, c := range append(build.Commands, image.Commands...) {
		switch c := c.(type) {
		case *instructions.RunCommand:
			line := strings.Join(c.CmdLine, " ")
			found["make"] = found["make"] || strings.Contains(line, "make rootfs-pull")
			found["ffmpeg"] = found["ffmpeg"] || strings.Contains(line, "ffmpeg")
		case *instructions.UserCommand:
			found["user"] = c.User == "65532:65532"
		case *instructions.HealthCheckCommand:
			found["health"] = slices.Equal(c.Health.Test, []string{"CMD", "/usr/local/bin/wcs-pull", "healthcheck"})
		case *instructions.EntrypointCommand:
			found["entry"] = slices.Equal(c.CmdLine, []string{"/usr/local/bin/wcs-pull"})
		case *instructions.CopyCommand:
			found["copy"] = c.From == build.Name && slices.Equal(c.SourcePaths, []string{"/src/bin/rootfs-pull/"})
		}
	}
	for _, what := range []string{"make", "ffmpeg", "user", "health", "entry", "copy", "version"} {
		if !found[what] {
			t.Errorf("the image of workers is wrong: %s", what)
		}
	}
}

// defaults returns the arguments before the first stage.
func defaults(args []instructions.ArgCommand) []string {
	var env []string
	for _, a := range args {
		for _, kv := range a.Args {
			env = append(env, kv.Key+"="+kv.ValueString())
		}
	}
	return env
}

// make rootfs writes the same bytes in another directory, with other file times, another umask and
// another time zone, from the build context alone.
func TestRootfsIsReproducible(t *testing.T) {
	first := rootfs(t, buildContext(t), "umask 022; TZ=UTC make rootfs VERSION=1.2.3")
	second := rootfs(t, buildContext(t), "umask 077; TZ=Asia/Tokyo make rootfs VERSION=1.2.3")
	if first != second {
		t.Errorf("the second run has the sum %s, the first %s", second, first)
	}
}

// The flags of another platform reach the compiler: it rejects an unknown one.
func TestRootfsIsForThePlatform(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "make", "rootfs", "GOOS=linux", "GOARCH=vax")
	cmd.Dir = buildContext(t)
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "linux/vax") {
		t.Errorf("%v\n%s", err, out)
	}
}

// rootfs runs a command in dir, checks the content of its output and returns the sum.
func rootfs(t *testing.T, dir, command string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", command)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	sum := checkRootfs(t, filepath.Join(dir, "bin/rootfs.tar"))
	if runtime.GOOS == "linux" {
		version, err := exec.CommandContext(t.Context(), filepath.Join(dir, "bin/rootfs/wcs-gateway"), "--version").Output()
		if err != nil || strings.TrimSpace(string(version)) != "1.2.3" {
			t.Errorf("--version: %q, %v", version, err)
		}
	}
	return sum
}

func checkRootfs(t *testing.T, file string) (sum string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	hash := sha256.New()
	archive := tar.NewReader(io.TeeReader(f, hash))
	modes := map[string]int64{}
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Gid != 0 || !h.ModTime.Equal(time.Unix(0, 0)) {
			t.Errorf("%s has the owner %d:%d and the time %v", h.Name, h.Uid, h.Gid, h.ModTime)
		}
		modes[strings.TrimPrefix(h.Name, "./")] = h.Mode
	}
	for name, mode := range map[string]int64{"wcs-gateway": 0o755, "LICENSE": 0o644, "NOTICES": 0o644, "etc/passwd": 0o644, "etc/group": 0o644, "etc/ssl/certs/ca-certificates.crt": 0o644} {
		if modes[name] != mode {
			t.Errorf("%s has mode %o", name, modes[name])
		}
	}
	if len(modes) != 10 { // with the root, etc, etc/ssl and etc/ssl/certs
		t.Errorf("%d entries: %v", len(modes), modes)
	}
	if _, err := io.Copy(hash, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// buildContext copies the files that .dockerignore does not exclude.
func buildContext(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for line := range strings.Lines(string(readFile(t, root+"/.dockerignore"))) {
		name, ok := strings.CutPrefix(strings.TrimSpace(line), "!")
		if !ok {
			continue
		}
		if err := copyTree(filepath.Join(root, name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// copyTree copies files, except tests, test data and node_modules. The copies have new times.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch {
		case d.Name() == "node_modules" || d.Name() == "testdata":
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, name), 0o755)
		case strings.HasSuffix(name, "_test.go"):
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("copy: %w", err)
		}
		return os.WriteFile(filepath.Join(to, name), b, 0o644)
	})
}
