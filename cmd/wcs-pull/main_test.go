package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"wcsgateway/cmd/wcs-pull/app"
	"wcsgateway/e2e/rig"
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/livekit"
	"wcsgateway/translate/pull"
)

const (
	asProgram  = "RUN_AS_WORKER" // makes the test binary the program
	testSecret = "0123456789abcdef0123456789abcdef"
	eventually = time.Minute // the machine can be busy
	lease      = "4s"
)

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// workerProcess is a running worker.
type workerProcess struct {
	*rig.Process
	url string
}

func startProcess(t *testing.T, environ ...string) workerProcess {
	t.Helper()
	address := fmt.Sprintf("127.0.0.1:%d", rig.FreePort(t))
	cmd := exec.Command(os.Args[0])
	cmd.Env = append([]string{
		asProgram + "=1", "PATH=" + os.Getenv("PATH"), "WCS_PULL_LISTEN=" + address, "WCS_PULL_SECRET=" + testSecret, "WCS_PULL_DEPLOYMENT=test",
		"WCS_PULL_REDIS_LEASE=" + lease, "WCS_PULL_NETWORKS=127.0.0.0/8", "WCS_PULL_LOG_LEVEL=debug",
	}, environ...)
	return workerProcess{rig.StartCmd(t, cmd), "http://" + address}
}

// get returns the status and body of a page, 0 while the worker does not listen.
func (w workerProcess) get(t *testing.T, path string) (status int, body string) {
	t.Helper()
	res, err := http.Get(w.url + path)
	if err != nil {
		return 0, ""
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Error(err)
	}
	return res.StatusCode, string(text)
}

func (w workerProcess) awaitStatus(t *testing.T, path string, want int) {
	t.Helper()
	rig.Eventually(t, eventually, fmt.Sprintf("%s is %d", path, want), func() bool {
		status, _ := w.get(t, path)
		return status == want
	})
}

func (w workerProcess) awaitEnd(t *testing.T) {
	t.Helper()
	select {
	case <-w.Done():
	case <-time.After(eventually):
		t.Fatal("the process did not end")
	}
	if err := w.Wait(); err != nil {
		t.Errorf("end of the process: %v", err)
	}
}

// wantNamedMetrics checks that a scrape has each metric of workers that the alerts and the dashboard name.
func (w workerProcess) wantNamedMetrics(t *testing.T) {
	t.Helper()
	_, scrape := w.get(t, app.PathMetrics)
	for file, least := range map[string]int{"alerts.yaml": 4, "dashboard.json": 7} {
		text, err := os.ReadFile("../../deploy/chart/wcs-gateway/files/" + file)
		if err != nil {
			t.Fatal(err)
		}
		named := regexp.MustCompile(`\bwcs_pull_[a-z_]+`).FindAllString(string(text), -1)
		slices.Sort(named)
		named = slices.Compact(named)
		if len(named) < least {
			t.Errorf("%s names only %q", file, named)
		}
		for _, name := range named {
			if !strings.Contains(scrape, "\n"+name+"{") && !strings.Contains(scrape, "\n"+name+" ") {
				t.Errorf("the scrape lacks %s of %s", name, file)
			}
		}
	}
}

// The process starts without Redis and LiveKit, says so, and ends in order after a signal.
func TestSignalEndsProcess(t *testing.T) {
	rig.SkipShort(t)
	unreachable := fmt.Sprintf("127.0.0.1:%d", rig.FreePort(t))
	w := startProcess(t, "WCS_PULL_LIVEKIT_URL=http://"+unreachable, "WCS_PULL_LIVEKIT_APIKEY=key", "WCS_PULL_LIVEKIT_APISECRET=geheim", "WCS_PULL_REDIS_ADDRS="+unreachable)
	w.awaitStatus(t, app.PathHealth, http.StatusOK)
	w.awaitStatus(t, app.PathReady, http.StatusServiceUnavailable)
	if code := run(t.Context(), []string{"healthcheck", "--address", strings.TrimPrefix(w.url, "http://")}, program{stdout: io.Discard, stderr: io.Discard}); code != exitOK {
		t.Errorf("healthcheck: exit code %d", code)
	}
	w.wantNamedMetrics(t)
	w.Signal(syscall.SIGTERM)
	w.awaitEnd(t)
	for line := range strings.Lines(w.Output()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("a line of the log is not JSON: %s", line)
		}
	}
	if text := w.Output(); !strings.Contains(text, `"message":"ended"`) || strings.Contains(text, testSecret) || strings.Contains(text, "geheim") {
		t.Errorf("log: %s", text)
	}
}

// The pull of a killed worker moves to another one, and nothing of the killed one is left.
func TestPullOfKilledProcessMoves(t *testing.T) {
	rig.SkipShort(t)
	redis, lk, camera := rig.StartRedis(t), rig.StartLiveKit(t, rig.LiveKitOptions{}), rig.StartRTSP(t, "admin", "geheim")
	camera.Camera("cam", "320x180", rig.CameraH264, rig.CameraAAC) // AAC needs a child
	environ := []string{"WCS_PULL_LIVEKIT_URL=" + lk.URL, "WCS_PULL_LIVEKIT_APIKEY=" + lk.Key, "WCS_PULL_LIVEKIT_APISECRET=" + lk.Secret, "WCS_PULL_REDIS_ADDRS=" + redis.Addr}
	first := startProcess(t, environ...)
	first.awaitStatus(t, app.PathReady, http.StatusOK)

	store := state.Open(state.Config{Addrs: []string{redis.Addr}}, state.Pod{Deployment: "test", ID: "gateway"}, state.Deps{})
	t.Cleanup(func() { _ = store.Close() }) // nothing is pending
	sfu, err := livekit.New(livekit.Config{URL: lk.URL, Key: lk.Key, Secret: lk.Secret}, livekit.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sfu.Close)
	p := wantCamera(t, store, camera.URL("cam"))
	running := func(not string) (s state.PullStatus) {
		t.Helper()
		rig.Eventually(t, eventually, "the pull runs", func() bool {
			found, err := store.FindPulls(t.Context(), p.ID)
			s = found[p.ID]
			return err == nil && s.State == string(pull.Running) && s.Worker != not && s.Alive()
		})
		return s
	}
	publishes := func(s state.PullStatus) bool {
		got, err := sfu.Participant(t.Context(), translate.RoomName(p.Room), translate.Identity(pull.Identity(p.ID, s.Generation)))
		return err == nil && len(got.Tracks) == 2
	}
	before := running("")
	if !publishes(before) {
		t.Error("the tracks are not published")
	}
	children := childrenOf(t, first.PID())
	if len(children) == 0 {
		t.Error("ffmpeg does not run")
	}
	second := startProcess(t, environ...)
	second.awaitStatus(t, app.PathReady, http.StatusOK)
	start := time.Now()
	first.Kill()
	after := running(before.Worker)
	t.Logf("the pull runs again %v after its worker was killed, with a lease of %s", time.Since(start), lease)
	if !publishes(after) {
		t.Error("the tracks are not published again")
	}
	rig.Eventually(t, eventually, "the killed worker's participant is gone", func() bool { return !publishes(before) })
	for _, pid := range children {
		rig.Eventually(t, eventually, "its ffmpeg has ended", func() bool { return !isRunning(pid) })
	}
	if _, text := second.get(t, app.PathMetrics); !strings.Contains(text, "wcs_pull_running 1") || !strings.Contains(text, `wcs_pull_sfu_call_seconds_count{op="remove_participant"`) {
		t.Errorf("metrics: %s", text)
	}
	second.Signal(syscall.SIGTERM)
	second.awaitEnd(t)
	found, err := store.FindPulls(t.Context(), p.ID)
	if s := found[p.ID]; err != nil || s.State != string(pull.Waiting) {
		t.Errorf("the returned pull is %+v, %v", s, err)
	}
	rig.Eventually(t, eventually, "the publisher has left", func() bool { return !publishes(after) })
	for _, w := range []workerProcess{first, second} {
		if text := w.Output(); strings.Contains(text, "geheim") || strings.Contains(text, "/cam") {
			t.Errorf("the log has parts of the URL: %s", text)
		}
	}
}

// wantCamera wants a pull as a gateway does.
func wantCamera(t *testing.T, store *state.Redis, url string) state.Pull {
	t.Helper()
	keys, err := pull.NewKeys(testSecret, "test")
	if err != nil {
		t.Fatal(err)
	}
	s, err := pull.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	id := keys.ID(s)
	p := state.Pull{ID: id, Public: s.Public(id), Sealed: keys.Seal(s), Room: pull.Room("test", id), Retry: time.Minute}
	if _, err := store.WantPull(t.Context(), p, state.PullWant{Holder: "gateway", Max: 10, Start: true}); err != nil {
		t.Fatal(err)
	}
	return p
}

// childrenOf returns the processes that a process has started and that run.
func childrenOf(t *testing.T, pid int) (children []string) {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil { // otherwise the thread has ended
			children = append(children, strings.Fields(string(text))...)
		}
	}
	return children
}

// isRunning reports whether a process exists and is not a zombie.
func isRunning(pid string) bool {
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	return err == nil && !bytes.Contains(text, []byte(") Z "))
}

func TestCommandsNameFaults(t *testing.T) {
	least := []string{
		"WCS_PULL_LIVEKIT_URL=http://localhost:7880", "WCS_PULL_LIVEKIT_APIKEY=k", "WCS_PULL_LIVEKIT_APISECRET=s", "WCS_PULL_REDIS_ADDRS=localhost:6379",
		"WCS_PULL_SECRET=" + testSecret, "WCS_PULL_FFMPEG=/bin/true", "WCS_PULL_FFPROBE=/bin/true",
	}
	for _, c := range []struct {
		args    string
		environ []string
		code    int
		want    string // part of the output
	}{
		{"check-config", least, exitOK, "ok\n"},
		{"check-config", append(least[:5:5], "WCS_PULL_FFMPEG=/does/not/exist", "WCS_PULL_FFPROBE=/bin/true"), exitFault, "ffmpeg"},
		{"check-config", append(least[:7:7], "WCS_PULL_SANDBOX=off"), exitOK, "ok\n"},
		{"check-config", append(least[:7:7], "WCS_PULL_SANDBOX=yes"), exitFault, "sandbox"},
		{"check-config", nil, exitFault, "secret: is missing"},
		{"", []string{"WCS_PULL_MAXIMUM=3"}, exitFault, "WCS_PULL_MAXIMUM: unknown variable"},
		{"--config /does/not/exist", nil, exitFault, "/does/not/exist: cannot be read"},
		{"check-config", append(least[:7:7], "WCS_PULL_CONFIG=/does/not/exist"), exitFault, "/does/not/exist: cannot be read"},
		{"healthcheck --address 127.0.0.1:1", nil, exitFault, "127.0.0.1:1/healthz"},
		{"nonsense", nil, exitUsage, "wcs-pull help"},
		{"--nonsense", nil, exitUsage, "wcs-pull help"},
		{"version", nil, exitOK, "\n"},
		{"--help", nil, exitOK, "WCS_PULL_LIVEKIT_APIKEY"},
	} {
		var out bytes.Buffer
		code := run(t.Context(), strings.Fields(c.args), program{environ: c.environ, stdout: &out, stderr: &out})
		if code != c.code || !strings.Contains(out.String(), c.want) || strings.Contains(out.String(), testSecret) {
			t.Errorf("wcs-pull %s with %v: exit code %d, want %d with %q: %s", c.args, c.environ, code, c.code, c.want, out.String())
		}
	}
}
