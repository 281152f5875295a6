package socket

// Limits bound what clients' sockets can cost. 0 is no limit.
type Limits struct {
	Connections           int // sockets in all
	ConnectionsPerAddress int // sockets per realip.LimitKey
	Pending               int // sockets without a session yet, and TCP connections that are not a socket yet

	MessagesPerSecond, MessageBurst int   // of a socket; control frames count
	BytesPerSecond, ByteBurst       int64 // of a socket; ByteBurst is at least the largest message
}
