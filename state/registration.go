package state

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// endedSession is what stands in place of a session that was kept, or was a dead pod's, and has ended. What is on its way then, of any
// pod that has had it, finds that it is not its own.
const endedSession = "-"

// registration is one holding of a session. Whoever takes a kept session has it under another token, and so as another registration,
// also the pod that had it before: nothing that was meant for the one concerns the other.
type registration struct {
	id, claim string
	final     bool // there may be other registrations of this session: it ends for good
}

// claimBytes of a token's hash tell registrations of one session apart.
const claimBytes = 8

func registrationOf(id string, h TokenHash) registration {
	return registration{id: id, claim: hex.EncodeToString(h[:claimBytes])}
}

func (s Session) registration() registration { return registrationOf(s.ID, s.TokenHash) }

// String is how the index of its owner names it.
func (g registration) String() string { return g.claim + " " + g.id }

func parseRegistration(name string) (g registration, err error) {
	claim, id, ok := strings.Cut(name, " ")
	if !ok {
		return g, fmt.Errorf("session index entry %q", name)
	}
	return registration{id: id, claim: claim}, nil
}

// text is what the session's value begins with while it is the owner's.
func (g registration) text(o Owner) string { return o.String() + " " + g.claim + " " }

// value is what the session's key holds.
func (g registration) value(o Owner, era int, record []byte) string {
	return g.text(o) + strconv.Itoa(era) + " " + string(record)
}

// parseSession reads a value. It fails with ErrNotFound when the session has ended.
func parseSession(value string) (s Session, err error) {
	if value == endedSession {
		return s, ErrNotFound
	}
	words := strings.SplitN(value, " ", 4)
	if len(words) != 4 {
		return s, fmt.Errorf("session without owner")
	}
	err = json.Unmarshal([]byte(words[3]), &s)
	return s, err
}
