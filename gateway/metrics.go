package gateway

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/egress"
	"wcsgateway/gateway/ends"
	"wcsgateway/gateway/hybrid"
	"wcsgateway/gateway/probe"
	"wcsgateway/gateway/rates"
	"wcsgateway/gateway/roomapi"
	"wcsgateway/gateway/session"
	"wcsgateway/gateway/upstream"
	"wcsgateway/state"
	"wcsgateway/translate"
)

// Metrics are the gateway's figures. All label sets are closed.
type Metrics struct {
	session.Metrics

	reloadOK   prometheus.Gauge
	reloadTime prometheus.Gauge
	sfuCalls   *prometheus.HistogramVec // op, class
	storeCalls *prometheus.HistogramVec // op, class
	webhooks   *prometheus.CounterVec   // result
	ends       *prometheus.CounterVec   // kind, class, reason, app
	draining   prometheus.Gauge
	rest       *prometheus.CounterVec   // path, status
	restTime   *prometheus.HistogramVec // path
	limits     *prometheus.GaugeVec     // limit
	expiry     *prometheus.GaugeVec     // listener
	routed     *prometheus.CounterVec   // app, side
	build      *prometheus.GaugeVec     // version
	rooms      *roomapi.Metrics
	cleanup    prometheus.Gauge
	probe      probe.Metrics
	snapshot   prometheus.Observer
	workers    *prometheus.GaugeVec // no labels; no value if no application may play sources
	upstream   upstream.Metrics
	hybrid     hybrid.Metrics
	sides      *prometheus.Registry // those of the above that differ by server: see sides
}

// Buckets from 1 ms to 30 s: a publish answer takes 5 to 20 ms, an ICE timeout 20 s.
var latencyBuckets = []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30}

// NewMetrics registers the gateway's metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	made := promauto.With(reg)
	gauge := func(name, help string) prometheus.Gauge {
		return made.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	gauges := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return made.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return made.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return made.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: latencyBuckets}, labels)
	}
	m := &Metrics{
		Metrics: session.Metrics{
			Connections: gauge("wcs_connections", "Open client sockets."),
			Sessions:    gauges("wcs_sessions", "Established sessions.", "app"),
			Detached:    gauge("wcs_sessions_detached", "Sessions with keepAlive that lost their socket and can be resumed."),
			Resumes:     counter("wcs_resumes_total", "Attempts of clients to resume a session with an authToken.", "result"),
			Streams:     gauges("wcs_streams", "Streams of this pod's clients that are starting or up.", "kind", "app"),
			Commands:    counter("wcs_commands_total", "Commands of clients that this gateway serves. The application is empty before the client has named one.", "app", "cmd", "class"),
			Closes:      counter("wcs_closes_total", "Client sockets that ended.", "reason"),
			Rejections:  counter("wcs_refusals_total", "TCP connections, sockets, sessions, commands and log lines rejected by a limit or a list.", "reason"),
			StartTime:   histogram("wcs_stream_start_seconds", "From publishStream to PUBLISHING and from playStream to PLAYING.", "kind"),
			OwnShare:    histogram("wcs_answer_own_seconds", "Gateway time from the command (or the backend's approval) to setRemoteSDP, without the calls that start the stream at LiveKit.", "kind"),
			HookCalls:   histogram("wcs_hook_call_seconds", "Calls to application backends, including queueing.", "method", "class"),
			HookVetoes:  counter("wcs_hook_vetoes_total", "Client requests rejected by a backend hook.", "method"),
			Egresses:    counter("wcs_egresses_total", "Recordings (record) and RTMP outputs (rtmp) of LiveKit's egress service, by result: started, complete, failed or forbidden.", "kind", "result"),
			Rates: rates.Metrics{
				Streams:     gauges("wcs_rate_streams", "Streams by the source of their video rate: the client's statistics or a probe.", "source"),
				ClientStats: counter("wcs_client_stats_total", "Statistics messages of clients, by result.", "result"),
			},
			RatesSent:     counter("wcs_rate_messages_total", "Video rate messages sent to clients.", "kind"),
			Snapshots:     counter("wcs_snapshots_total", "Snapshots requested by clients and backends, by result.", "result"),
			Notifications: histogram("wcs_notification_seconds", "Time until players are notified that their publisher ended, by stage (local, announce, transit, deliver).", "stage"),
			LostBytes:     counter("wcs_unsent_bytes_total", "Bytes not sent to clients: the socket was closed, or a slow client's messages from other clients were dropped.").WithLabelValues(),
			Panics:        counter("wcs_panics_total", "Panics that were recovered; each is a bug.").WithLabelValues(),
		},
		reloadOK:   gauge("wcs_config_last_reload_successful", "1 if the last reload of configuration and certificates succeeded, 0 if it was rejected."),
		reloadTime: gauge("wcs_config_last_reload_success_timestamp_seconds", "Time of the last successful reload of the configuration."),
		sfuCalls:   histogram("wcs_sfu_call_seconds", "Calls to LiveKit. Class again: the play goes on with another attempt.", "op", "class"),
		storeCalls: histogram("wcs_store_call_seconds", "Calls to Redis.", "op", "class"),
		ends:       counter("wcs_stream_ends_total", "Streams that ended and requests for streams that were rejected, by the party that caused it, the reason and the application.", "kind", "class", "reason", "app"),
		webhooks:   counter("wcs_webhooks_total", "Webhooks of LiveKit, by result.", "result"),
		rooms: &roomapi.Metrics{
			Rooms:   gauge("wcs_rooms", "Rooms of the room API that this pod has members of."),
			Members: gauge("wcs_room_members", "Members of rooms on this pod."),
		},
		snapshot: histogram("wcs_snapshot_seconds", "Time from the request for a picture to its PNG, for pictures that were taken.").WithLabelValues(),
		probe: probe.Metrics{
			Probes: gauges("wcs_probes", "Probes that run (running), and probes that wait because rates.maxProbes are running (waiting).", "state"),
			Data:   counter("wcs_native_data_total", "Data messages of participants in rooms of applications with nativeData, by result.", "result"),
		},
		routed: counter("wcs_routed_total", "Clients that were routed, by application and side: here, or the name of an upstream.", "app", "side"),
		upstream: upstream.Metrics{
			Sessions: gauges("wcs_upstream_sessions", "Open sessions that are spliced to an upstream. The application is empty for second sockets of media providers whose session is not known.", "app", "upstream"),
			Streams:  gauges("wcs_upstream_streams", "Streams of spliced sessions that are up, as the upstream's messages to the client say.", "app", "upstream", "kind"),
			Opened:   counter("wcs_upstream_links_total", "Connections to upstreams, by result: ok, limit (upstreams.<name>.maxLinks) or unavailable.", "upstream", "result"),
			Commands: counter("wcs_upstream_commands_total", "Commands of clients that an upstream serves, except pongs; other for unknown names.", "app", "upstream", "cmd"),
		},
		hybrid: hybrid.Metrics{
			Links:   gauges("wcs_hybrid_links", "Links of sessions of this gateway to the upstream of their application (hybrid).", "app", "upstream"),
			Streams: gauges("wcs_hybrid_streams", "Streams that sessions of this gateway have on the upstream of their application (hybrid).", "app", "upstream", "kind"),
			Dropped: counter("wcs_hybrid_dropped_total", "Messages of upstreams that clients do not get: those of statistics, binary ones, too long ones, and those about nothing that the client has there.", "app"),
		},
		workers:  gauges("wcs_workers", "Living workers (wcs-pull) of the deployment, as this pod sees them. Absent if no application has pull.allow."),
		cleanup:  gauge("wcs_cleanup_pending", "Pending cleanup calls to LiveKit and Redis, and pending hook calls for sessions of dead pods."),
		draining: gauge("wcs_draining", "1 while the pod is shutting down."),
		rest:     counter("wcs_rest_requests_total", "Requests to the REST API and for statistics. The path is later for endpoints that only WCS has.", "path", "status"),
		restTime: histogram("wcs_rest_request_seconds", "Requests to the REST API and for statistics. A console's events are one request.", "path"),
		limits:   gauges("wcs_limit", "Limits of this pod, by setting; 0: none.", "limit"),
		expiry:   gauges("wcs_certificate_expiry_timestamp_seconds", "Expiry of the certificate that a listener uses.", "listener"),
		build:    gauges("wcs_build_info", "1; the label is the version of the build.", "version"),
	}
	m.Preset()
	for _, kind := range []translate.EgressKind{translate.EgressRecord, translate.EgressRTMP} {
		m.Egresses.WithLabelValues(string(kind), egress.Failed)
	}
	m.probe.Data.WithLabelValues(probe.DataPassed)
	m.Rejections.WithLabelValues(string(rejectLoop))
	m.ConfigTaken(true)
	m.sides = prometheus.NewRegistry()
	m.sides.MustRegister(m.Sessions, m.Streams, m.Commands, m.upstream.Sessions, m.upstream.Streams, m.upstream.Commands, m.hybrid.Links, m.hybrid.Streams)
	return m
}

// Ends returns a recorder of the ends of streams. keep reports whether it keeps the last hour's failures.
func (m *Metrics) Ends(keep bool) *ends.Recorder { return ends.New(m.ends, keep) }

// Build records the version of the build.
func (m *Metrics) Build(version string) { m.build.WithLabelValues(version).Set(1) }

// ConfigTaken records that the configuration was taken, or could not be.
func (m *Metrics) ConfigTaken(ok bool) {
	if !ok {
		m.reloadOK.Set(0)
		return
	}
	m.reloadOK.Set(1)
	m.reloadTime.SetToCurrentTime()
}

// RESTRequest records a request to the REST API. The path is one of a closed set.
func (m *Metrics) RESTRequest(path string, status int, d time.Duration) {
	m.rest.WithLabelValues(path, strconv.Itoa(status)).Inc()
	m.restTime.WithLabelValues(path).Observe(d.Seconds())
}

// Limits records the limits that are in force.
func (m *Metrics) Limits(l *apps.Limits) {
	for limit, n := range map[string]int{
		"connections": l.Connections, "connections_per_address": l.ConnectionsPerAddress, "pending": l.Pending, "detached": l.Detached,
	} {
		m.limits.WithLabelValues(limit).Set(float64(n))
	}
}

// Certificate records the certificate that a listener uses, by its setting: listen.tls or rest.tls.
func (m *Metrics) Certificate(setting string, notAfter time.Time) {
	m.expiry.WithLabelValues(strings.ReplaceAll(setting, ".", "_")).Set(float64(notAfter.Unix()))
}

// SFUCall records a call to LiveKit.
func (m *Metrics) SFUCall(op string, d time.Duration, err error) {
	m.sfuCalls.WithLabelValues(strings.ReplaceAll(op, " ", "_"), sfuClass(err)).Observe(d.Seconds())
}

// StoreCall records a call to Redis.
func (m *Metrics) StoreCall(op string, d time.Duration, err error) {
	class := "ok"
	switch {
	case err == nil:
	case errors.Is(err, state.ErrUnavailable), errors.Is(err, state.ErrLeaseStale):
		class = "unavailable"
	default:
		class = "refused"
	}
	m.storeCalls.WithLabelValues(op, class).Observe(d.Seconds())
}

func sfuClass(err error) string {
	var e *translate.Error
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, translate.ErrPlayAgain): // the play goes on with another attempt
		return "again"
	case errors.As(err, &e):
		return e.Kind.String()
	}
	return "unknown"
}
