package config

import (
	"errors"
	"strings"
	"testing"
)

// hash is the hash of "secret" with the lowest cost.
const hash = "$2a$04$g9KJTk/CXrb7tVqCQksVK.yKrOXGUFoT.8ENypca9TF8lOsdvb9TW"

func TestRESTServesWithUsersOnly(t *testing.T) {
	for _, tt := range []struct {
		rest    []string
		serves  bool
		warning string
	}{
		{nil, false, "rest.users is empty"},
		{[]string{"WCS_REST_LISTEN="}, false, ""},
		{[]string{"WCS_REST_USERS={ops: " + hash + "}"}, true, "in the clear"},
		{[]string{"WCS_REST_AUTH=none"}, true, "can list and end all streams"},
	} {
		got, err := Load("", append(tt.rest, required...))
		if err != nil {
			t.Fatalf("%v: %v", tt.rest, err)
		}
		if got.REST.Serves() != tt.serves {
			t.Errorf("%v: serves %v", tt.rest, got.REST.Serves())
		}
		warnings := strings.Join(got.REST.warnings(), "\n")
		if !strings.Contains(warnings, tt.warning) || (tt.warning == "") != (warnings == "") {
			t.Errorf("%v: warnings %q, want %q", tt.rest, warnings, tt.warning)
		}
	}
}

func TestInvalidRESTSettingsAreReported(t *testing.T) {
	for variable, want := range map[string]string{
		"WCS_REST_USERS={ops: secret}":                             "rest.users[ops]",
		"WCS_REST_USERS={ops: " + hash[:4] + "31" + hash[6:] + "}": "rest.users[ops]",
		"WCS_REST_AUTH=open":                                       "rest.auth",
		"WCS_REST_LISTEN=8081":                                     "rest.listen",
		"WCS_REST_AGENT=9707":                                      "rest.agent",
		"WCS_REST_ORIGINS=[http://*]":                              "rest.origins[0]",
		"WCS_REST_TLS={}":                                          "WCS_REST_TLS",
	} {
		_, err := Load("", append([]string{variable}, required...))
		var f *Fault
		if !errors.As(err, &f) || f.Key != want || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want a fault of %s without the value", variable, err, want)
		}
	}
	_, err := Load("", append([]string{"WCS_REST_AUTH=none", "WCS_REST_USERS={ops: " + hash + "}"}, required...))
	if err == nil || !strings.Contains(err.Error(), "rest.auth is none") {
		t.Errorf("users without authentication: %v", err)
	}
}
