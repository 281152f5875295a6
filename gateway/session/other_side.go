package session

import (
	"errors"

	"wcsgateway/gateway/pulls"
	"wcsgateway/gateway/quota"
	"wcsgateway/state"
	"wcsgateway/translate/wcs"
)

// hybridSession implements hybrid.Session.
type hybridSession struct{ *Session }

func (s hybridSession) Post(f func())                 { s.loop.Post(f) }
func (s hybridSession) Send(frame []byte)             { s.send(frame) }
func (s hybridSession) HasRoom() bool                 { return s.conn.HasRoom() }
func (s hybridSession) HasStream(mediaID string) bool { return s.streams[mediaID] != nil }
func (s hybridSession) Charge(k quota.Kind) bool      { return s.quota().Allow(k) }
func (s hybridSession) CountStreams(delta int)        { s.streaming.Add(int32(delta)) }
func (s hybridSession) Serve(c wcs.Command) {
	s.account(string(c.Name), commands[c.Name].run(s.Session, c))
}
func (s hybridSession) Knows(name string) bool {
	err := s.available(name)
	return !errors.Is(err, errNoStream) && !pulls.IsForeign(err)
}

// endOther ends the streams that the session has upstream. The client is notified if it resumes the session.
func (s *Session) endOther() {
	for _, e := range s.other.End() {
		s.resume.queueEnd(state.SessionStream{
			MediaID: e.MediaID, Name: e.Name, Published: e.Published, CreatedAt: e.Created, Provider: e.Provider,
			Status: string(wcs.StatusFailed), Info: wcs.InfoStoppedBySessionDisconnect,
		})
	}
}
