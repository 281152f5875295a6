package session

import (
	"wcsgateway/gateway/socket"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// defaultAppKey is what the SDK sends when the app names none; raw clients may leave it out (protocol.md
// §2.1).
const defaultAppKey = "defaultApp"

func handleConnection(s *Session, c wcs.Connection) error {
	if s.id != "" || s.opening {
		return nil // a repeat changes nothing
	}
	key := c.AppKey
	if key == "" {
		key = defaultAppKey
	}
	if err := s.table.Settings().Limits.checkConnection(c); err != nil {
		return err
	}
	s.conn.Established()
	s.opening = true
	if app, ok := s.admit(key); ok {
		s.connect(app, c)
	}
	return nil
}

func handlePong(s *Session, _ wcs.Command) error {
	s.conn.Pong()
	return nil
}

// handleMediaTransport closes the second socket of MSE and WSPlayer clients: media never passes here
// (protocol.md §2.18).
func handleMediaTransport(s *Session, _ wcs.Command) error {
	s.conn.Close(socket.ClosedRefused)
	return nil
}

// cut bounds what a client can put into a log line.
func cut(text string, n int) string {
	return translate.Abridge(text, n)
}
