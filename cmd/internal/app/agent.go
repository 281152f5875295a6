package app

import (
	"errors"
	"fmt"
	"net"
	"time"

	"wcsgateway/gateway"
)

// agentTimeout bounds telling HAProxy one line.
const agentTimeout = 5 * time.Second

// agentPause is how long nobody is told after a connection could not be accepted.
const agentPause = 100 * time.Millisecond

// serveAgent tells each connection of an agent-check how the pod is, and closes it.
func serveAgent(l net.Listener, g *gateway.Gateway) error {
	for {
		c, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil: // out of files, as a rule; there will be some again
			<-time.After(agentPause)
			continue
		}
		_ = c.SetDeadline(time.Now().Add(agentTimeout)) // fails only on a dead connection, which the write reports
		_, _ = c.Write([]byte(agentLine(g.Load())))     // HAProxy asks again
		_ = c.Close()
	}
}

// agentLine is what HAProxy understands: a draining pod gets no new clients and keeps those it has; "ready" takes back an earlier
// "drain".
func agentLine(percent int, open bool) string {
	if !open {
		return "drain\n"
	}
	return fmt.Sprintf("ready up %d%%\n", 100-percent)
}
