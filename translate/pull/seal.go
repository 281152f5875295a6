package pull

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// MinSecret is the shortest secret, in bytes.
const MinSecret = 32

// idLength is the number of digits of an id.
const idLength = 32

// Keys are the keys of a deployment, derived from its secret: one for ids and one for sealing. Gateways and
// workers have the same.
type Keys struct {
	id   []byte
	aead cipher.AEAD
}

// ErrSecret is returned for a secret that is too short.
var ErrSecret = errors.New("must have at least " + strconv.Itoa(MinSecret) + " characters")

// NewKeys derives the keys of a deployment from a secret.
func NewKeys(secret, deployment string) (*Keys, error) {
	if len(secret) < MinSecret {
		return nil, ErrSecret
	}
	id, err := hkdf.Key(sha256.New, []byte(secret), nil, "wcs pull id "+deployment, sha256.Size)
	if err != nil {
		return nil, err
	}
	seal, err := hkdf.Key(sha256.New, []byte(secret), nil, "wcs pull seal "+deployment, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(seal)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &Keys{id: id, aead: aead}, nil
}

// ID returns the id of a source: 32 hex digits, from which nothing can be guessed without the secret.
// Sources with different credentials or Rights have different ids.
func (k *Keys) ID(s Source) string {
	mac := hmac.New(sha256.New, k.id)
	mac.Write([]byte(s.Reveal() + s.rights.text()))
	return hex.EncodeToString(mac.Sum(nil)[:idLength/2])
}

// Seal encrypts a source. The result differs each time.
func (k *Keys) Seal(s Source) []byte {
	return k.aead.Seal(nil, nil, []byte(s.Reveal()), []byte(k.ID(s)))
}

var errSealed = errors.New("the sealed source is damaged, or of another secret, deployment or id")

// Open returns the source with this id that Seal encrypted, with its Rights.
func (k *Keys) Open(id string, sealed []byte) (Source, error) {
	text, err := k.aead.Open(nil, nil, sealed, []byte(id))
	if err != nil {
		return Source{}, errSealed
	}
	s, err := Parse(string(text))
	if err != nil {
		return s, err
	}
	for _, v := range s.Variants() {
		if k.ID(v) == id {
			return v, nil
		}
	}
	return Source{}, errSealed // another version had another canonical form
}

const roomPrefix = "wcs-pull."

// Room returns the LiveKit room of a pull.
func Room(deployment, id string) string { return roomPrefix + deployment + "." + id }

// IsRoom reports whether a room is that of a pull, of any deployment. Clients must not publish in it.
func IsRoom(room string) bool { return strings.HasPrefix(room, roomPrefix) }

const identityPrefix = "wcs-pull-"

// Identity returns the identity of the participant that publishes a pull in its generation. It is native to
// gateways.
func Identity(id string, generation int64) string {
	return fmt.Sprintf("%s%s-%d", identityPrefix, id, generation)
}

// ParseIdentity splits an identity. ok is false for any other identity.
func ParseIdentity(identity string) (id string, generation int64, ok bool) {
	rest, ok := strings.CutPrefix(identity, identityPrefix)
	id, number, found := strings.Cut(rest, "-")
	generation, err := strconv.ParseInt(number, 10, 64)
	if !ok || !found || err != nil || len(id) != idLength {
		return "", 0, false
	}
	return id, generation, true
}
