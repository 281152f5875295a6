// Package session is the actor of the gateway: the sessions of WCS clients and their streams. It owns the
// command table with its handlers, the course of a stream from its command to its end, resumed sessions, and
// the order of hook calls.
//
// All state of a session and its streams belongs to the session's loop (Session.loop), which runs one event
// at a time. Handlers run on the loop and must not wait: async runs work beside the loop and continues on it,
// callOn calls from outside. Table finds sessions and streams, and holds what several sessions share. Env is
// what sessions use and do not own. Only package gateway calls this package; it imports the services, and
// none of them knows a session.
package session
