package app

import (
	"errors"
	"fmt"
	"net"
	"time"

	"wcsgateway/gateway"
)

// agentTimeout bounds the reply to HAProxy.
const agentTimeout = 5 * time.Second

// agentPause is the pause after a failure to accept a connection.
const agentPause = 100 * time.Millisecond

// serveAgent answers each connection of an agent-check with the state of the pod, and closes it.
func serveAgent(l net.Listener, g *gateway.Gateway) error {
	for {
		c, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil: // usually out of file descriptors, which is temporary
			<-time.After(agentPause)
			continue
		}
		_ = c.SetDeadline(time.Now().Add(agentTimeout)) // fails only on a dead connection, which the write reports
		_, _ = c.Write([]byte(agentLine(g.Load())))     // HAProxy asks again
		_ = c.Close()
	}
}

// agentLine returns the line for HAProxy: a draining pod receives no new clients and keeps its own; "ready"
// revokes an earlier "drain".
func agentLine(percent int, open bool) string {
	if !open {
		return "drain\n"
	}
	return fmt.Sprintf("ready up %d%%\n", 100-percent)
}
