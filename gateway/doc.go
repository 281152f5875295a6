// Package gateway is what has a socket or a clock: the WebSocket server for WCS clients, their
// connections, sessions and streams, LiveKit's webhooks, health and metrics. It speaks to LiveKit and Redis
// through the interfaces of seams.go and imports neither LiveKit's packages nor go-redis.
//
// A connection has one goroutine of its own, which reads. All other work of a session runs on its loop, an
// ordered queue of events that has a goroutine only while there is something in it; so a session's state
// needs no lock and an idle session costs one small stack. Calls to LiveKit and Redis run off the loop and
// come back as events.
package gateway
