package rest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// serveWithTwo returns an API with the other servers a and b, and the names of those that got a request.
func serveWithTwo(t *testing.T, a, b http.HandlerFunc) (*world, func() string) {
	t.Helper()
	asked := make(chan string, 10)
	var all []Other
	for i, serve := range []http.HandlerFunc{a, b} {
		name := string(rune('a' + i))
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked <- name
			if user, password, _ := r.BasicAuth(); user != "gateway" || password != "secret-"+name {
				t.Errorf("%s got the credentials of %s: %s", name, user, password)
			}
			if body, _ := io.ReadAll(r.Body); r.Method == http.MethodPost && len(body) == 0 {
				t.Errorf("%s got no body", name)
			}
			serve(w, r)
		}))
		t.Cleanup(srv.Close)
		all = append(all, Other{Name: name, URL: srv.URL, Username: "gateway", Password: "secret-" + name, Deployment: "media"})
	}
	return serve(t, Config{Users: users(t), Others: all}, nil), func() string {
		var names []string
		for len(asked) > 0 {
			names = append(names, <-asked)
		}
		slices.Sort(names)
		return strings.Join(names, "")
	}
}

func answering(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func TestListHasEntriesOfAllServersByName(t *testing.T) {
	entries := func(name string) http.HandlerFunc { return answering(http.StatusOK, `[{"sessionId":"`+name+`"}]`) }
	down := answering(http.StatusInternalServerError, "")
	for name, tt := range map[string]struct {
		a, b         http.HandlerFunc
		want, header string
	}{
		"both":         {entries("a"), entries("b"), "/1 /2 a b", ""},
		"the second":   {answering(http.StatusNotFound, ""), entries("b"), "/1 /2 b", ""},
		"empty":        {answering(http.StatusOK, "[]"), entries("b"), "/1 /2 b", ""},
		"first fails":  {down, entries("b"), "/1 /2 b", "a=status"},
		"second fails": {entries("a"), answering(http.StatusOK, "{}"), "/1 /2 a", "b=invalid"},
		"both fail":    {answering(http.StatusOK, "no"), down, "/1 /2", "a=invalid, b=status"},
	} {
		w, asked := serveWithTwo(t, tt.a, tt.b)
		r := w.do(t, http.MethodPost, prefix+"/connection/find_all", "{}", asOps)
		if all := strings.Join(names(t, r.body, "sessionId"), " "); r.status != http.StatusOK || all != tt.want || r.header.Get(OtherHeader) != tt.header {
			t.Errorf("%s: %d %s, %q, want %s", name, r.status, all, r.header.Get(OtherHeader), tt.want)
		}
		if got := asked(); got != "ab" {
			t.Errorf("%s: asked %s", name, got)
		}
	}
	w, asked := serveWithTwo(t, entries("a"), entries("b"))
	(*w.api.others.Load())[0].Users = []string{"boss"}
	r := w.do(t, http.MethodPost, prefix+"/connection/find_all", "{}", asOps)
	if all := strings.Join(names(t, r.body, "sessionId"), " "); all != "/1 /2 b" || r.header.Get(OtherHeader) != "" || asked() != "b" {
		t.Errorf("a user of the second server: %+v", r)
	}
}

func TestRequestIsPassedOnUntilAServerHasIt(t *testing.T) {
	missing, found := answering(http.StatusNotFound, "missing"), answering(http.StatusConflict, "found")
	refusing, cut := answering(http.StatusUnauthorized, ""), func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	for name, tt := range map[string]struct {
		a, b   http.HandlerFunc
		status int
		body   string // "": the gateway's
		asked  string
	}{
		"the first has it":         {found, missing, http.StatusConflict, "found", "a"},
		"the second has it":        {missing, found, http.StatusConflict, "found", "ab"},
		"none has it":              {missing, answering(http.StatusNotFound, "last"), http.StatusNotFound, "last", "ab"},
		"the first fails itself":   {answering(http.StatusInternalServerError, "bad"), found, http.StatusInternalServerError, "bad", "a"},
		"the first rejects":        {refusing, found, http.StatusConflict, "found", "ab"},
		"the first could have it":  {refusing, missing, http.StatusBadGateway, "", "ab"},
		"the second could have it": {missing, refusing, http.StatusBadGateway, "", "ab"},
		"the first can have acted": {cut, found, http.StatusBadGateway, "", "a"},
	} {
		w, asked := serveWithTwo(t, tt.a, tt.b)
		for path, body := range map[string]string{"/connection/terminate": `{"sessionId":"/old"}`, "/call/startup": `{"callee":"x"}`} {
			r := w.do(t, http.MethodPost, prefix+path, body, asOps)
			if got := asked(); r.status != tt.status || tt.body != "" && r.body != tt.body || got != tt.asked {
				t.Errorf("%s, %s: %+v from %s, want %d %s from %s", name, path, r, got, tt.status, tt.body, tt.asked)
			}
		}
	}
	w, asked := serveWithTwo(t, found, found)
	gone := httptest.NewServer(found)
	gone.Close()
	var all []Other
	for _, o := range *w.api.others.Load() {
		all = append(all, o.Other)
	}
	all[0].URL = gone.URL
	if err := w.api.SetOthers(all); err != nil {
		t.Fatal(err)
	}
	if r := w.do(t, http.MethodPost, prefix+"/call/startup", "{}", asOps); r.status != http.StatusConflict || asked() != "b" {
		t.Errorf("the first is down: %+v", r)
	}
	if log := w.log.String(); !strings.Contains(log, `"upstream":"a"`) || strings.Contains(log, "secret-") {
		t.Errorf("log %s", log)
	}
}
