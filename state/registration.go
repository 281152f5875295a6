package state

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// endedSession begins the mark that replaces the value of an ended session if it was resumable or a dead
// pod's. Late writes, of any pod that had the session, then find that it is not their own. After it and a
// space, the mark has registration.text, and that of a dead pod's session the rest of the value.
const endedSession = "-"

// registration is one holding of a session. A pod that takes a resumable session holds it under another
// token, and so as another registration, even if it had it before. Commands for one registration do not
// affect another.
type registration struct {
	id, claim string
	final     bool // the session can have other registrations, so its end is permanent
}

// claimBytes is the number of bytes of a token's hash that identify a registration of a session.
const claimBytes = 8

func registrationOf(id string, h TokenHash) registration {
	return registration{id: id, claim: hex.EncodeToString(h[:claimBytes])}
}

func (s Session) registration() registration { return registrationOf(s.ID, s.TokenHash) }

// String returns the registration's name in its owner's index.
func (g registration) String() string { return g.claim + " " + g.id }

func (g registration) compare(o registration) int { return strings.Compare(g.String(), o.String()) }

func parseRegistration(name string) (g registration, err error) {
	claim, id, ok := strings.Cut(name, " ")
	if !ok {
		return g, fmt.Errorf("session index entry %q", name)
	}
	return registration{id: id, claim: claim}, nil
}

// text returns the beginning of the session's value while the owner has it.
func (g registration) text(o Owner) string { return o.String() + " " + g.claim + " " }

// value returns the value of the session's key.
func (g registration) value(o Owner, generation int, record []byte) string {
	return g.text(o) + strconv.Itoa(generation) + " " + string(record)
}

// parseSession parses a value. It fails with ErrNotFound if the session ended.
func parseSession(value string) (s Session, err error) {
	if strings.HasPrefix(value, endedSession) {
		return s, ErrNotFound
	}
	words := strings.SplitN(value, " ", 4)
	if len(words) != 4 {
		return s, fmt.Errorf("session without owner")
	}
	err = json.Unmarshal([]byte(words[3]), &s)
	return s, err
}
