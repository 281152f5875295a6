package app

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"

	"wcsgateway/cmd/internal/config"
	"wcsgateway/gateway/apps"
	"wcsgateway/translate"
)

// The application of cmd/internal/check. It has no backend. Its key is known only with LiveKit's secret.
const (
	trialApp = "wcs-check"
	// TrialRoom is the template of its rooms.
	TrialRoom = translate.RoomTemplate(trialApp + ".{name}")
	// trialSessions is the number of checks of a pod at a time.
	trialSessions = 8
)

// TrialKey returns the app key by which a check connects to a gateway of the same configuration. It is a
// secret.
func TrialKey(cfg config.Config) string {
	mac := hmac.New(sha256.New, []byte(cfg.LiveKit.APISecret.Reveal()))
	mac.Write([]byte("app key of wcs-gateway check"))
	return trialApp + "-" + hex.EncodeToString(mac.Sum(nil)[:16])
}

func trial() apps.App {
	return apps.App{Key: trialApp, Room: TrialRoom, Native: apps.NativeOff, Codecs: translate.DefaultCodecs(), Rates: apps.RatesOff, MaxSessions: trialSessions}
}
