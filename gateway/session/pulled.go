package session

import (
	"context"
	"errors"

	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/pulls"
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

// pullEnded ends a player of a source whose worker has left, with the worker's reason.
func (st *stream) pullEnded(e endCause) {
	p, t := st.pull, st.sess.table
	async(st.sess, func() (*pulls.Failure, error) { return t.Pulls.Why(t.Context, p), nil }, func(f *pulls.Failure, _ error) {
		if f != nil {
			e.info, e.reason, e.err = f.Info, f.Reason, f
		}
		st.end(e)
	})
}
