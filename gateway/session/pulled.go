package session

import (
	"context"
	"errors"

	"github.com/rs/zerolog"

	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/pulls"
	"wcsgateway/translate"
)

// A client plays a source outside the deployment, such as a camera, by its URL (package pulls). The stream's
// name is then the source's public name: the client's own name can have credentials. Only the client and its
// backend get that (stream.said).

// checkPlayed checks the name of a stream or source that the client wants to play. It returns nil for a
// stream. It can be called off the loop.
func (s *Session) checkPlayed(name string) (*pulls.Pull, error) {
	p, err := s.table.Pulls.Of(s.app.Key, &s.app.Pull, name)
	if p == nil && err == nil {
		err = s.checkName(name)
	}
	return p, err
}

// rename checks the name that the client or its backend requests for a stream, and sets it.
func (st *stream) rename(name string) error {
	if st.published {
		st.name = name
		return st.sess.checkName(name)
	}
	p, err := st.sess.checkPlayed(name)
	if p == nil || err != nil {
		st.name, st.pull = name, nil
		return err
	}
	var others []*pulls.Pull
	for _, other := range st.sess.streams {
		if other != st {
			others = append(others, other.pull)
		}
	}
	st.name, st.pull = p.Name, p
	return st.sess.table.Pulls.CheckSession(p, others)
}

// said returns the stream's name for the client and its backend.
func (st *stream) said() string {
	if st.pull != nil {
		return st.pull.Said()
	}
	return st.name
}

// locatePulled returns the source that is pulled and that a name stands for, for the clients of an
// application or for an operator. ok is false for the name of a stream.
func (t *Table) locatePulled(ctx context.Context, app *apps.App, name string) (src source, ok bool, err error) {
	if app != nil {
		p, err := t.Pulls.Of(app.Key, &app.Pull, name)
		if p == nil {
			return src, err != nil, err
		}
		src.room, src.publisher.Identity, err = t.Pulls.Publisher(ctx, p)
		if err == nil && src.publisher.Identity == "" {
			err = errNoStream
		}
		return src, true, err
	}
	src.room, src.publisher.Identity, err = t.Pulls.Find(ctx, name)
	if err == nil && src.publisher.Identity == "" {
		err = errNoStream
	}
	return src, !errors.Is(err, errNoStream), err
}

// pullEnded has a player whose worker has left follow its source to another worker, without its client. If it
// cannot, it ends, with the worker's reason.
func (st *stream) pullEnded(e endCause) {
	t, left := st.sess.table, st.publisher
	st.following = true
	t.Poller.Remove(st.room, st)
	var ctx context.Context
	ctx, st.cancel = context.WithCancel(t.Context)
	async(st.sess, func() (translate.Participant, error) { return t.Pulls.Follow(ctx, st.pull, left) }, func(next translate.Participant, err error) {
		var f *pulls.Failure
		st.cancel()
		st.following = false
		switch {
		case st.ending != nil:
		case err == nil:
			st.follow(next)
		case errors.As(err, &f):
			e.info, e.reason, e.err = f.Info, f.Reason, f
			st.end(e)
		default:
			e.err = err
			st.end(e)
		}
	})
}

// follow takes the publisher whose tracks the player receives now.
func (st *stream) follow(next translate.Participant) {
	st.sess.log(zerolog.InfoLevel).Str("media", st.id).Str("publisher", string(next.Identity)).Msg("player follows its source to another worker")
	st.unsubscribeNativeData()
	st.publisher, st.publisherSID = next.Identity, next.SID
	if st.rates != nil {
		st.subscribeNativeData()
	}
	st.learnFromSFU(next.Tracks)
	st.sess.table.Poller.Add(st.room, st)
	st.sess.resume.save()
}
