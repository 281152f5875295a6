// Package gateway is the edge of a pod: the HTTP and WebSocket listeners, health, LiveKit's webhooks, events
// from other pods, clean-up after dead pods, drain, and the wiring of the services. Sessions and their
// streams are in gateway/session. Only cmd calls this package. It speaks to LiveKit and Redis through
// interfaces and imports neither LiveKit's packages nor go-redis.
//
// A connection has one goroutine, which reads. All other work of a session runs on its loop, an ordered queue
// of events that has a goroutine only while it has events. So a session's state needs no lock, and an idle
// session costs one small stack. Calls to LiveKit and Redis run beside the loop and come back as events.
package gateway
