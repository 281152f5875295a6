// Package tests checks the deployment files: chart, compose file, Dockerfile, systemd unit, alerts and
// dashboard. It is a separate module, so that Helm and similar libraries are not dependencies of the
// gateway.
package tests
