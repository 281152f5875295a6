//go:build controlplane

package tests

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

// controlPlane is a real control plane without machines: etcd, kube-apiserver, kube-controller-manager,
// kube-scheduler, and kwok, which simulates the nodes. make test-k8s builds them into bin/k8s.
type controlPlane struct {
	t      *testing.T
	dir    string
	url    string
	client *http.Client
}

const (
	bins  = root + "/bin/k8s"
	token = "test"

	applyType = "application/apply-patch+yaml"
	within    = 2 * time.Minute // for anything that the control plane does by itself
)

func startControlPlane(t *testing.T) *controlPlane {
	t.Helper()
	p := &controlPlane{t: t, dir: t.TempDir(), client: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}} // of its own certificate
	t.Cleanup(p.client.CloseIdleConnections)
	etcd, peer, api, kcm, scheduler, kwok := freePort(t), freePort(t), freePort(t), freePort(t), freePort(t), freePort(t)
	p.url = fmt.Sprintf("https://127.0.0.1:%d", api)
	p.write("tokens.csv", token+",admin,admin,system:masters\n")
	p.write("sa.key", serviceAccountKey(t))
	kubeconfig := p.write("kubeconfig", fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c, clusters: [{name: l, cluster: {server: %q, insecure-skip-tls-verify: true}}],
users: [{name: a, user: {token: %s}}], contexts: [{name: c, context: {cluster: l, user: a}}]}`, p.url, token))
	peers := fmt.Sprintf("http://127.0.0.1:%d", peer)
	store := fmt.Sprintf("http://127.0.0.1:%d", etcd)
	p.run("server", "--data-dir", p.dir+"/etcd", "--unsafe-no-fsync", "--listen-client-urls", store, "--advertise-client-urls", store,
		"--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers, "--initial-cluster", "default="+peers)
	p.run("kube-apiserver", "--etcd-servers="+store, "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", api), "--cert-dir="+p.dir+"/certs",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file="+p.dir+"/sa.key", "--service-account-signing-key-file="+p.dir+"/sa.key",
		"--service-cluster-ip-range=10.0.0.0/24", "--authorization-mode=RBAC", "--token-auth-file="+p.dir+"/tokens.csv")
	p.await("the API server is ready", func() bool {
		status, body := p.try(http.MethodGet, "/readyz", "", nil)
		return status == http.StatusOK && body["text"] == "ok"
	})
	common := []string{"--kubeconfig=" + kubeconfig, "--leader-elect=false", "--bind-address=127.0.0.1", "--cert-dir=" + p.dir + "/certs2"}
	p.run("kube-controller-manager", append(common, fmt.Sprintf("--secure-port=%d", kcm), "--service-account-private-key-file="+p.dir+"/sa.key", "--use-service-account-credentials=false",
		"--controllers=*,-cloud-node-lifecycle-controller,-service-lb-controller,-node-route-controller", "--horizontal-pod-autoscaler-sync-period=1s",
		"--horizontal-pod-autoscaler-initial-readiness-delay=1s", "--horizontal-pod-autoscaler-cpu-initialization-period=1s")...)
	p.run("kube-scheduler", append(common, fmt.Sprintf("--secure-port=%d", scheduler))...)
	p.run("kwok", "--kubeconfig="+kubeconfig, "--manage-all-nodes=true", "--node-ip=127.0.0.1", fmt.Sprintf("--server-address=127.0.0.1:%d", kwok), "--node-lease-duration-seconds=40")
	return p
}

func (p *controlPlane) write(name, text string) (path string) {
	p.t.Helper()
	path = filepath.Join(p.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	return path
}

// run starts a component, which ends with the test. If the test fails, the log has its output.
func (p *controlPlane) run(name string, args ...string) {
	p.t.Helper()
	binary, err := filepath.Abs(filepath.Join(bins, name))
	if err != nil {
		p.t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := exec.Command(binary, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = p.dir, &out, &out, time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		p.t.Fatalf("%v: make test-k8s builds it", err)
	}
	p.t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // by that
		if s := out.String(); p.t.Failed() {
			p.t.Logf("%s:\n%s", name, s[max(0, len(s)-3000):])
		}
	})
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }() // nothing was accepted
	return l.Addr().(*net.TCPAddr).Port
}

func serviceAccountKey(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
}

func (p *controlPlane) await(what string, cond func() bool) {
	p.t.Helper()
	limit := time.NewTimer(within)
	defer limit.Stop()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for !cond() {
		select {
		case <-again.C:
		case <-limit.C:
			p.t.Fatalf("not within %v: %s", within, what)
		}
	}
}

// try makes a request. A body that is not JSON is returned under "text".
func (p *controlPlane) try(method, path, contentType string, body []byte) (status int, answer object) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, p.url+path, bytes.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", contentType)
	res, err := p.client.Do(r)
	if err != nil {
		return 0, object{"message": err.Error()}
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil || json.Unmarshal(text, &answer) != nil {
		answer = object{"text": string(text)}
	}
	return res.StatusCode, answer
}

func (p *controlPlane) get(path string) object {
	p.t.Helper()
	status, o := p.try(http.MethodGet, path, "", nil)
	if status != http.StatusOK {
		p.t.Fatalf("%s: %d %v", path, status, o["message"])
	}
	return o
}

func (p *controlPlane) do(method, path, contentType, body string) object {
	p.t.Helper()
	status, o := p.try(method, path, contentType, []byte(body))
	if status < 200 || status > 299 {
		p.t.Fatalf("%s %s: %d %v", method, path, status, o["message"])
	}
	return o
}

// apply is kubectl apply --server-side --validate=strict. It returns the status and the object, or the
// rejection.
func (p *controlPlane) apply(ns, document, query string) (status int, answer object) {
	p.t.Helper()
	var o object
	if err := yaml.Unmarshal([]byte(document), &o); err != nil {
		p.t.Fatal(err)
	}
	kind := fmt.Sprintf("%v %v", o["apiVersion"], o["kind"])
	path, known := resources[kind]
	if !known {
		p.t.Fatalf("rendered kind %s has no path in this test", kind)
	}
	if strings.Contains(path, "%s") {
		path = fmt.Sprintf(path, "namespaces/"+ns+"/")
	}
	return p.try(http.MethodPatch, path+fmt.Sprint(at(o, "metadata.name"))+"?fieldManager=test&force=true&fieldValidation=Strict"+query, applyType, []byte(document))
}

func (p *controlPlane) mustApply(ns string, documents ...string) {
	p.t.Helper()
	for _, d := range documents {
		if status, o := p.apply(ns, d, ""); status != http.StatusOK && status != http.StatusCreated {
			p.t.Fatalf("%d %v for\n%s", status, o["message"], d)
		}
	}
}

// install applies the chart in its own namespace.
func (p *controlPlane) install(ns string, texts ...string) {
	p.t.Helper()
	p.mustApply("", "{apiVersion: v1, kind: Namespace, metadata: {name: "+ns+"}}")
	text, err := render(kubeVersion, values(p.t, append([]string{required}, texts...)...))
	if err != nil {
		p.t.Fatal(err)
	}
	for d := range documents(text) {
		if !strings.Contains(d, "helm.sh/hook: test") {
			p.mustApply(ns, d)
		}
	}
}

// definition returns a custom resource definition of a module, which is downloaded if it is missing.
func definition(t *testing.T, module, file string) string {
	t.Helper()
	out, err := exec.Command("go", "mod", "download", "-json", module).Output()
	if err != nil {
		t.Fatal(err)
	}
	var m struct{ Dir string }
	if err := json.Unmarshal(out, &m); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(m.Dir, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
