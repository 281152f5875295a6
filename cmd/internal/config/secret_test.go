package config

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestSecretsAreReadFromFiles(t *testing.T) {
	secret := write(t, testSecret+"\r\n")
	environ := slices.DeleteFunc(slices.Clone(required), func(v string) bool { return strings.Contains(v, "SECRET") })
	file := write(t, "livekit: {webhookKeys: {old: {file: "+secret+"}, new: plain}}\nredis: {password: {file: "+secret+"}}")
	got, err := Load(file, append(environ, "WCS_LIVEKIT_APISECRET_FILE="+secret))
	if err != nil {
		t.Fatal(err)
	}
	check(t, "by variable", got.LiveKit.APISecret.Reveal(), testSecret)
	check(t, "in the file", got.Redis.Password.Reveal(), testSecret)
	check(t, "in a map", got.LiveKit.WebhookKeys["old"].Reveal(), testSecret)
	check(t, "beside one in a map", got.LiveKit.WebhookKeys["new"].Reveal(), "plain")

	got, err = Load("", append(environ, "WCS_LIVEKIT_APISECRET_FILE="+secret, "WCS_LIVEKIT_WEBHOOKKEYS={old: {file: "+secret+"}}"))
	if err != nil {
		t.Fatal(err)
	}
	check(t, "in a map in a variable", got.LiveKit.WebhookKeys["old"].Reveal(), testSecret)
}

func TestUnusableSecretFilesAreReported(t *testing.T) {
	environ := slices.DeleteFunc(slices.Clone(required), func(v string) bool { return strings.Contains(v, "SECRET") })
	empty, missing := write(t, "\n"), filepath.Join(t.TempDir(), "none")
	for name, tt := range map[string]struct {
		file    string
		environ []string
		want    map[string]string
	}{
		"missing":          {"", []string{"WCS_LIVEKIT_APISECRET_FILE=" + missing}, map[string]string{"WCS_LIVEKIT_APISECRET_FILE": missing}},
		"empty":            {"", []string{"WCS_LIVEKIT_APISECRET_FILE=" + empty}, map[string]string{"WCS_LIVEKIT_APISECRET_FILE": empty + ": is empty"}},
		"a folder":         {"", []string{"WCS_LIVEKIT_APISECRET_FILE=" + t.TempDir()}, map[string]string{"WCS_LIVEKIT_APISECRET_FILE": "directory"}},
		"twice":            {"", []string{"WCS_LIVEKIT_APISECRET=x", "WCS_LIVEKIT_APISECRET_FILE=" + write(t, "y")}, map[string]string{"WCS_LIVEKIT_APISECRET_FILE": "both set"}},
		"of what is none":  {"", []string{"WCS_LIVEKIT_APISECRET=x", "WCS_LIVEKIT_APIKEY_FILE=x"}, map[string]string{"WCS_LIVEKIT_APIKEY_FILE": "unknown variable"}},
		"mistyped":         {"", []string{"WCS_LIVEKIT_APISECRET=x", "WCS_REDIS_PASWORD_FILE=x"}, map[string]string{"WCS_REDIS_PASWORD_FILE": "did you mean WCS_REDIS_PASSWORD_FILE?"}},
		"missing, in YAML": {"livekit: {apiSecret: {file: " + missing + "}}", nil, map[string]string{"livekit.apiSecret": missing}},
		"not a file":       {"livekit: {apiSecret: {path: x}}", nil, map[string]string{"livekit.apiSecret": "{file: path}"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := ""
			if tt.file != "" {
				path = write(t, tt.file)
			}
			_, err := Load(path, append(slices.Clone(environ), tt.environ...))
			wantFaults(t, err, tt.want)
		})
	}
}
