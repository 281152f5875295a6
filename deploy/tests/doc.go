// Package tests checks what is deployed: the chart, the compose file, the Dockerfile, the alerts and the dashboard. It is a module of its
// own, so that Helm and the like are no dependencies of the gateway.
package tests
