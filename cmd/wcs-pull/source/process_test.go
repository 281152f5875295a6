package source

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"wcsgateway/cmd/wcs-pull/sandbox"
	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
	"wcsgateway/translate/pull"
)

// workerFilm is set in the process that TestKilledWorkerLeavesNoProcess kills.
const workerFilm = "WCS_PULL_TEST_FILM"

// workerSandbox is set if the process has a sandbox.
const workerSandbox = "WCS_PULL_TEST_SANDBOX"

// work plays a film of a web server until it is killed.
func work(film string) {
	room := &fakeRoom{lost: make(chan struct{})}
	r, err := New(Config{Private: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Sandbox: os.Getenv(workerSandbox) != ""})
	if err == nil {
		err = Protect()
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	r.publish = func(context.Context, translate.PullTarget) (Publisher, error) { return room, nil }
	source, err := pull.Parse(film)
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = r.Run(context.Background(), Job{Source: source, Room: "r", Identity: "i"}, func(s pull.State, _ error) { fmt.Println(s) })
}

// children returns the ids and states of a process' children that run a program.
func children(t testing.TB, parent int, program string) map[string]string {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it ended
		}
		id, rest, _ := strings.Cut(string(text), " (")
		name, rest, _ := strings.Cut(rest, ") ")
		fields := strings.Fields(rest)
		if name == program && len(fields) > 1 && fields[1] == fmt.Sprint(parent) {
			found[id] = fields[0]
		}
	}
	return found
}

func alive(id string) bool {
	text, err := os.ReadFile("/proc/" + id + "/stat")
	return err == nil && !strings.Contains(string(text), ") Z ")
}

func TestKilledWorkerLeavesNoProcess(t *testing.T) {
	rig.SkipShort(t)
	dir := t.TempDir()
	record(t, filepath.Join(dir, "film.mp4"), 60, rig.CameraH264, rig.CameraAAC)
	server, _ := web(t, dir)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, variable := range sandboxes(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(self)
			cmd.Env = append(os.Environ(), workerFilm+"="+withPassword(server, "pass%20word")+"/film.mp4", variable)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			worker := rig.StartCmd(t, cmd)
			lines := bufio.NewScanner(out)
			for lines.Scan() && lines.Text() != string(pull.Running) {
				t.Log(lines.Text())
			}
			var ids map[string]string
			rig.Eventually(t, patience, "ffmpeg runs", func() bool {
				ids = children(t, worker.PID(), "ffmpeg")
				return len(ids) == 1
			})
			for id := range ids {
				if alone := ownNetwork(t, id); alone != (name == "sandbox") {
					t.Errorf("a network of its own: %v", alone)
				}
			}
			worker.Kill()
			for id := range ids {
				rig.Eventually(t, patience, "ffmpeg ends", func() bool { return !alive(id) })
			}
		})
	}
}

// sandboxes are the ways in which children can run here, with a variable of work for each.
func sandboxes(t *testing.T) map[string]string {
	t.Helper()
	ways := map[string]string{"shared": workerSandbox + "="}
	if err := sandbox.Available(); err != nil {
		t.Logf("no sandbox here: %v", err)
	} else {
		ways["sandbox"] = workerSandbox + "=1"
	}
	return ways
}

// ownNetwork reports whether a process has another network than this one.
func ownNetwork(t *testing.T, id string) bool {
	t.Helper()
	theirs, err := os.Readlink("/proc/" + id + "/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	ours, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	return theirs != ours
}

func TestStoppedPullLeavesNoProcess(t *testing.T) {
	r, room, dir := folder(t)
	record(t, filepath.Join(dir, "film.mp4"), 60, rig.CameraH264, rig.CameraAAC)
	s := begin(t, r, room, "vod://film.mp4", nil)
	s.await(pull.Running)
	s.frames(10, 10)
	s.stop()
	for _, program := range []string{"ffmpeg", "ffprobe"} {
		if left := children(t, os.Getpid(), program); len(left) != 0 {
			t.Errorf("%s: processes %v are left", program, left)
		}
	}
}

func TestChildHasLimitsAndNoSecrets(t *testing.T) {
	dir := t.TempDir()
	record(t, filepath.Join(dir, "film.mp4"), 60, rig.CameraH264, rig.CameraAAC)
	server, _ := web(t, dir)
	s := start1(t, withPassword(server, "pass%20word")+"/film.mp4?token=abcdef", nil)
	s.await(pull.Running)
	s.frames(10, 10)
	ids := children(t, os.Getpid(), "ffmpeg")
	if len(ids) != 1 {
		t.Fatalf("%d processes of ffmpeg, want 1", len(ids))
	}
	for id := range ids {
		for _, file := range []string{"cmdline", "environ"} {
			text, err := os.ReadFile("/proc/" + id + "/" + file)
			if err != nil {
				t.Fatal(err)
			}
			for _, secret := range []string{"pass", "user:", "token", "abcdef"} {
				if strings.Contains(string(text), secret) {
					t.Errorf("%s contains %q", file, secret)
				}
			}
			if file == "environ" && strings.Count(string(text), "\x00") != 1 {
				t.Errorf("the environment is %q", text)
			}
		}
		limits, err := os.ReadFile("/proc/" + id + "/limits")
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(limits), "\n") {
			fields := strings.Fields(line)
			for name, want := range map[string]string{"Max data size": fmt.Sprint(copyMemory), "Max file size": "0", "Max open files": fmt.Sprint(maxFiles)} {
				if strings.HasPrefix(line, name) && fields[3] != want {
					t.Errorf("%s is %s, want %s", name, fields[3], want)
				}
			}
		}
	}
}
