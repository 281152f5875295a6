package check

import (
	"wcsgateway/cmd/internal/app"
	"wcsgateway/cmd/internal/config"
)

// Configuration examines a configuration as the gateway does at its start. loaded is the error of
// config.Load.
func Configuration(cfg config.Config, loaded error) (r Report) {
	if loaded == nil {
		loaded = app.Check(cfg)
	}
	for _, f := range config.Faults(loaded) {
		r.Add(Result{Level: Fault, Check: f.Key, Text: f.Text, At: f.At})
	}
	if len(r.Results) > 0 {
		return r
	}
	for _, w := range cfg.Warnings() {
		r.Add(Result{Level: Warning, Check: "configuration", Text: w})
	}
	r.Add(Result{Check: "configuration", Text: "is valid"})
	return r
}
